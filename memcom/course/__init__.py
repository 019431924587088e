"""The notebooks of the course: what they call, and what runs them.

Inside a notebook: :func:`profile` gives its sizes, :func:`record` hands values to the runner,
:func:`exercise` and :func:`check` answer exercises. Around notebooks: :func:`run` runs one without
a screen, :func:`run_all` runs the course and builds its pages, :func:`lint` checks a file.
``python -m memcom.course`` is the same from a terminal.

The exercises' checks live in the notebook itself, in a folded cell above each exercise: a reader
unfolds it to see exactly what is asked, and a notebook stays one file.
"""

from __future__ import annotations

from memcom.course.build.linter import lint as lint
from memcom.course.build.runner import ExerciseError as ExerciseError
from memcom.course.build.runner import NotebookError as NotebookError
from memcom.course.build.runner import RunResult as RunResult
from memcom.course.build.runner import WidgetError as WidgetError
from memcom.course.build.runner import run as run
from memcom.course.build.site import CourseError as CourseError
from memcom.course.build.site import rebuild as rebuild
from memcom.course.build.site import report as report
from memcom.course.build.site import run_all as run_all
from memcom.course.build.source import clean as clean
from memcom.course.exercises import CheckResult as CheckResult
from memcom.course.exercises import check as check
from memcom.course.exercises import evaluate_answer as evaluate_answer
from memcom.course.exercises import exercise as exercise
from memcom.course.explorers.calculator import calculator as calculator
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
