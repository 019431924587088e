"""Process of a benchmark: ``python -m benchmarks.child KIND SETTINGS`` prints rows as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.suite import timed
from benchmarks.training import train_large


def _bounds(settings: dict[str, Any]) -> Iterable[dict[str, Any]]:
    from benchmarks.bounds import measured  # which loads the compiler of the kernels

    return measured(settings)


def _steps(settings: dict[str, Any]) -> Iterable[dict[str, Any]]:
    from benchmarks.bounds import steps_measured

    return steps_measured(settings)


KINDS: dict[str, Callable[[dict[str, Any]], Iterable[dict[str, Any]]]] = {
    "time": timed,
    "scale": lambda settings: [train_large(**settings)],
    "bounds": _bounds,
    "steps": _steps,
}

if __name__ == "__main__":
    for row in KINDS[sys.argv[1]](json.loads(sys.argv[2])):
        print(json.dumps(row), flush=True)
