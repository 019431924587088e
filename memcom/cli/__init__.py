"""The command ``memcom``.

Each command imports what it needs when it runs, so that ``memcom --help`` is quick, and only turns
words into arguments: the work is done by the rooms below. A new command is one more decorated
function in one of the modules here. Errors that a user can mend (a bad value, a missing file, a
budget that cannot be met) are shown as one line with exit code 2 (set MEMCOM_TRACEBACK=1 to see
more); anything else is a fault of ours and keeps its traceback.
"""

from memcom.cli import course, export, library, sweep
from memcom.cli._group import main

__all__ = ["course", "export", "library", "main", "sweep"]
