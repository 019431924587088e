"""The notebooks of the course: what they call, and what runs them.

Inside a notebook: `profile` gives its sizes, `record` hands values to the runner, `exercise` and
`check` answer exercises, `explorer` shows controls with a picture that follows them. Around
notebooks: `run_notebook` runs one without a screen, `run_course` runs all and builds the pages,
`lint` checks a file. The command ``memcom`` does the same from a terminal.

The exercises' checks live in the notebook itself, in a folded cell above each exercise: a reader
unfolds it to see exactly what is asked, and a notebook stays one file.
"""

from __future__ import annotations

from memcom.course.build.collect import summarise_runs as summarise_runs
from memcom.course.build.linter import lint as lint
from memcom.course.build.notebook import clean as clean
from memcom.course.build.notebook import copy_notebooks as copy_notebooks
from memcom.course.build.runner import ExerciseError as ExerciseError
from memcom.course.build.runner import NotebookError as NotebookError
from memcom.course.build.runner import RunResult as RunResult
from memcom.course.build.runner import WidgetError as WidgetError
from memcom.course.build.runner import run_notebook as run_notebook
from memcom.course.build.site import CourseError as CourseError
from memcom.course.build.site import rebuild as rebuild
from memcom.course.build.site import run_course as run_course
from memcom.course.encoder import SentenceEncoder as SentenceEncoder
from memcom.course.encoder import load_encoder as load_encoder
from memcom.course.exercises import CheckResult as CheckResult
from memcom.course.exercises import check as check
from memcom.course.exercises import evaluate_answer as evaluate_answer
from memcom.course.exercises import exercise as exercise
from memcom.course.explorers.budget_explorer import calculator as calculator
from memcom.course.explorers.controls import Choice as Choice
from memcom.course.explorers.controls import Control as Control
from memcom.course.explorers.controls import Slider as Slider
from memcom.course.explorers.controls import Toggle as Toggle
from memcom.course.explorers.explorer import Explorer as Explorer
from memcom.course.explorers.explorer import explorer as explorer
from memcom.course.explorers.explorer import tour as tour
from memcom.course.explorers.explorer import tour_all as tour_all
from memcom.course.profiles import Profile as Profile
from memcom.course.profiles import profile as profile
from memcom.course.records import record as record
from memcom.course.results import results_folder as results_folder

run, run_all = run_notebook, run_course  # their names until this release
