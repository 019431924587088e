"""What a benchmark runs in processes of its own; prints JSON, one object a line."""

from __future__ import annotations

import json
import sys

from memcom.benchmark.memory import train
from memcom.benchmark.runner import timed

if __name__ == "__main__":
    if sys.argv[1] == "memory":
        print(json.dumps(train(sys.argv[2], *map(int, sys.argv[3:]))))
    else:
        for row in timed(json.loads(sys.argv[2])):
            print(json.dumps(row), flush=True)
