"""``python -m benchmarks.bounds``: measure, print the table, write a CSV file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.bounds.measure import command
from benchmarks.bounds.probes import METHODS, NoCompiler
from benchmarks.bounds.steps import STEPS

if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.bounds", description=command.__doc__)
    named = f"of {', '.join(METHODS)}; with --steps of {', '.join(STEPS)}"
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=named)
    parser.add_argument("--steps", action="store_true", help="time training steps, not lookups")
    parser.add_argument("--out", type=Path, help="CSV file to write: bounds.csv, or steps.csv")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="for a method and a batch")
    given = parser.parse_args()
    known = STEPS if given.steps else METHODS
    unknown = set(given.methods) - set(known)
    if unknown:
        parser.error(f"methods are {', '.join(known)}, got {', '.join(sorted(unknown))}")
    out = given.out or Path("steps.csv" if given.steps else "bounds.csv")
    options = {"threads": given.threads, "seconds": given.seconds}
    try:
        command(out, given.methods, steps=given.steps, **options)
    except NoCompiler as error:
        sys.exit(str(error))
