"""Process of a benchmark: ``python -m benchmarks.child KIND SETTINGS`` prints rows as JSON."""

from __future__ import annotations

import json
import sys

from benchmarks.suite import timed
from benchmarks.training import train_large

if __name__ == "__main__":
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    for row in timed(settings) if kind == "time" else [train_large(**settings)]:
        print(json.dumps(row), flush=True)
