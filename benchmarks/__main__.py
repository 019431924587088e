"""``python -m benchmarks``: what ``memcom bench`` does, without click."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.summary import command

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--threads", type=int, action="append", default=[])
    parser.add_argument("--only", metavar="PART", action="append", default=[])
    sys.exit(command(**vars(parser.parse_args())))
