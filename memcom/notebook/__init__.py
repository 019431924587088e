"""The notebooks of the course: what they call, and what runs them.

Inside a notebook: :func:`profile` gives its sizes, :func:`record` hands values to the runner,
:func:`exercise` and :func:`check` answer exercises. Around notebooks: :func:`run` runs one without
a screen, :func:`run_all` runs the course and builds its pages, :func:`lint` checks a file.
``python -m memcom.notebook`` is the same from a terminal.

The exercises' checks live in the notebook itself, in a folded cell above each exercise: a reader
unfolds it to see exactly what is asked, and a notebook stays one file.
"""

from __future__ import annotations

from memcom.notebook.exercises import Outcome as Outcome
from memcom.notebook.exercises import check as check
from memcom.notebook.exercises import evaluate as evaluate
from memcom.notebook.exercises import exercise as exercise
from memcom.notebook.linter import lint as lint
from memcom.notebook.profiles import Profile as Profile
from memcom.notebook.profiles import profile as profile
from memcom.notebook.records import record as record
from memcom.notebook.runner import ExerciseError as ExerciseError
from memcom.notebook.runner import NotebookError as NotebookError
from memcom.notebook.runner import RunResult as RunResult
from memcom.notebook.runner import WidgetError as WidgetError
from memcom.notebook.runner import run as run
from memcom.notebook.site import CourseError as CourseError
from memcom.notebook.site import rebuild as rebuild
from memcom.notebook.site import report as report
from memcom.notebook.site import run_all as run_all
from memcom.notebook.source import clean as clean
