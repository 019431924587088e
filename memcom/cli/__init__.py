"""The command ``memcom``.

Each command imports what it needs when it runs, so that ``memcom --help`` is quick, and only turns
words into arguments: the work is done by the rooms below. A new command is one more decorated
function in one of the modules here. Exit codes: 2 for what was typed (a bad value, a path that is
not there, a budget that cannot be met), 1 for what failed (a trial, a download, a missing package),
each with one line of words; ``-v`` adds the traceback. Anything else is a fault of ours and keeps
its own.
"""

from memcom.cli import course, export, library, sweep
from memcom.cli._group import main

__all__ = ["course", "export", "library", "main", "sweep"]
