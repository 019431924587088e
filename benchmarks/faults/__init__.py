"""Faults on purpose: sweeps whose workers, disk, clock and neighbours fail, and what is left.

    python -m benchmarks.faults                     every program, in minutes
    python -m benchmarks.faults kills --rounds 50   one of them

Each runs a sweep of trials that cost next to nothing, disturbs it, lets it end undisturbed, and
compares the folder with that of a sweep that nothing disturbed.
"""

from __future__ import annotations

from benchmarks.faults.programs import PROGRAMS as PROGRAMS
from benchmarks.faults.sweeps import Found as Found
