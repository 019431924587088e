"""Speed and memory of the layers beside `torch.nn.Embedding`: ``memcom bench``.

- targets.py: the ratios that are promised
- suite.py: `run`, from settings to rows; child.py is the process that times
- candidates.py, methods.py, fbgemm.py, training.py: what is timed, and trained at scale
- growth.py: cost over the number of ids and the batch
- bounds/: the same lookups in C++, and what bounds ours: ``python -m benchmarks.bounds``
- machine.py: facts that go with every row
- reporting.py: a run in words, and the command; speed_page.py: a committed run as Markdown
"""

from __future__ import annotations

from benchmarks.growth import growth_panels, growth_table
from benchmarks.reporting import command, report
from benchmarks.speed_page import (
    every_markdown,
    read_rows,
    sizes_markdown,
    speed_markdown,
    speed_panels,
)
from benchmarks.suite import run
from benchmarks.targets import PARTS, TARGETS, check

__all__ = [
    "PARTS",
    "TARGETS",
    "check",
    "command",
    "every_markdown",
    "growth_panels",
    "growth_table",
    "read_rows",
    "report",
    "run",
    "sizes_markdown",
    "speed_markdown",
    "speed_panels",
]
