"""Speed and memory of the layers beside `torch.nn.Embedding`: ``memcom bench``.

- targets.py: the ratios that are promised
- suite.py: `run`, from settings to rows; child.py is the process that times
- candidates.py, fbgemm.py, training.py: what is timed, and trained at scale
- machine.py: facts that go with every row
- reporting.py: a run in words, and the command; pages.py: a committed run as Markdown
"""

from __future__ import annotations

from benchmarks.reporting import command, report
from benchmarks.speed_page import read_rows, sizes_markdown, speed_markdown, speed_panels
from benchmarks.suite import run
from benchmarks.targets import PARTS, TARGETS, check

__all__ = [
    "PARTS",
    "TARGETS",
    "check",
    "command",
    "read_rows",
    "report",
    "run",
    "sizes_markdown",
    "speed_markdown",
    "speed_panels",
]
