"""``python -m benchmarks.bounds``: measure, print the table, write a CSV file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.bounds.measure import command
from benchmarks.bounds.probes import METHODS, NoCompiler

if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.bounds", description=command.__doc__)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--out", type=Path, default=Path("bounds.csv"), help="CSV file to write")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="for a method and a batch")
    given = parser.parse_args()
    unknown = set(given.methods) - set(METHODS)
    if unknown:
        parser.error(f"methods are {', '.join(METHODS)}, got {', '.join(sorted(unknown))}")
    try:
        command(given.out, given.methods, threads=given.threads, seconds=given.seconds)
    except NoCompiler as error:
        sys.exit(str(error))
