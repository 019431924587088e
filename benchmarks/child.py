"""What a benchmark runs in processes of its own; prints JSON, one object a line."""

from __future__ import annotations

import json
import sys

from benchmarks import memory
from benchmarks.parts import timed
from benchmarks.scale import train_large
from memcom.profiling import peak_rss_bytes

if __name__ == "__main__":
    if sys.argv[1] == "memory":
        n, e, batch = map(int, sys.argv[3:])
        print(json.dumps(memory.allocate(sys.argv[2], n, e, batch)))
    elif sys.argv[1] == "scale":
        found = train_large(*map(int, sys.argv[2:]))
        print(json.dumps({**found, "resident": peak_rss_bytes()}))
    else:
        for row in timed(json.loads(sys.argv[2])):
            print(json.dumps(row), flush=True)
