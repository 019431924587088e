"""A benchmark run: which sizes, in which processes, written where."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import memory
from benchmarks.machine import Load, machine
from benchmarks.targets import MEMORY, PARTS, SCALE

# Keep freed memory instead of handing it back: else every large output costs thousands of page
# faults, and one measures malloc. Read by glibc when a process starts; others ignore it.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
QUICK: dict[str, Any] = {
    "parts": list(PARTS),
    "sizes": [(10**6, 64)],
    "batches": [1, 4096, 65536],
    "kinds": ["zipf", "uniform"],
    "threads": [2],
    "seconds": 0.8,  # for the ways that are timed in turns, all of them together
    "search": [10**5, 10**6],  # ids
    "every": [10**5],
    "memory": [10**7],
    "scale": [10**8],
    "steps": 300,  # of the training at scale
}
FULL: dict[str, Any] = {
    **QUICK,
    "sizes": [(n, e) for n in (10**5, 10**6, 10**7) for e in (32, 64, 128)],
    "threads": [1, 2],
}
Tell = Callable[[str], object]


def run(
    out: str | os.PathLike[str] | None = None,
    *,
    quick: bool = True,
    tell: Tell = lambda line: None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Time everything, each thread count in a process of its own.

    Args:
        out: CSV file to write, with the machine, its load and the versions in every row.
        quick: `QUICK`, the sizes of the targets, in minutes; else `FULL`, in a quarter of an
            hour.
        tell: Given a line at each new part.
        **settings: Replace some of their entries.

    Returns:
        One dict per method, phase, size, batch, kind of ids and number of threads.

    Raises:
        ValueError: If there is no such setting or part.
    """
    chosen = {**(QUICK if quick else FULL), **settings}
    unknown = set(chosen) - set(QUICK)
    if unknown:
        raise ValueError(f"settings are {', '.join(QUICK)}, got {', '.join(sorted(unknown))}")
    strange = sorted(set(chosen["parts"]) - set(PARTS))
    if strange:
        raise ValueError(f"parts are {', '.join(PARTS)}, got {', '.join(strange)}")
    load = Load()
    rows = [*_timed(chosen, tell), *_memory(chosen, tell), *_scale(chosen, tell)]
    facts = {**load.read(), **machine()}
    rows = [{**row, **facts} for row in rows]
    if out is not None:
        write_csv(Path(out), rows)
    return rows


def _timed(chosen: dict[str, Any], tell: Tell) -> Iterator[dict[str, Any]]:
    """Rows of what is timed, a process for each number of threads."""
    if not set(chosen["parts"]) - {MEMORY, SCALE}:
        return
    said = None
    for threads in chosen["threads"]:
        environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "benchmarks.child", "time", json.dumps(chosen)]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                row = json.loads(line)
                what = f"{row['phase']}, {threads} threads"
                if "num_embeddings" in row:
                    what += f", {row['num_embeddings']:,} x {row['embedding_dim']}"
                if what != said:
                    tell(what)
                said = what
                yield row
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)


def _memory(chosen: dict[str, Any], tell: Tell) -> Iterator[dict[str, Any]]:
    """Rows of peak memory, where there is enough of it."""
    sizes = chosen["memory"] if MEMORY in chosen["parts"] else []
    for n, batch in itertools.product(sizes, [b for b in chosen["batches"] if b > 1]):
        if not _room(memory.formula(memory.METHODS[0], n, 64), f"{MEMORY}, {n:,} x 64", tell):
            continue
        found = [memory.measure(method, n, 64, batch) for method in memory.METHODS]
        first = found[0].resident or math.nan  # a tiny table may fit into pages that are there
        for method, one in zip(memory.METHODS, found, strict=True):
            yield {
                **{"phase": MEMORY, "method": method, "baseline": memory.METHODS[0]},
                **{"num_embeddings": n, "embedding_dim": 64, "batch": batch, "ids": "uniform"},
                **{"ratio": one.resident / first, **one._asdict()},
            }


def _scale(chosen: dict[str, Any], tell: Tell) -> Iterator[dict[str, Any]]:
    """Rows of the model with more ids than a full table could have here."""
    for n in chosen["scale"] if SCALE in chosen["parts"] else []:
        if not _room(3 * n * 64 * 4 // 16, f"{SCALE}, {n:,} x 64", tell):
            continue
        batch, threads = max(chosen["batches"]), str(max(chosen["threads"]))
        sizes = [str(x) for x in (n, 64, batch, chosen["steps"])]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.child", "scale", *sizes],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": threads},
            stdout=subprocess.PIPE,
            text=True,
        )
        yield {
            **{"phase": SCALE, "method": "memcom, lazy Adam", "baseline": "-", "ids": "zipf"},
            **{"num_embeddings": n, "embedding_dim": 64, "batch": batch, "threads": int(threads)},
            **json.loads(done.stdout.splitlines()[-1]),
        }


def _room(needed: float, what: str, tell: Tell) -> bool:
    """Whether the memory is there; says what is measured, or that it cannot be."""
    if memory.available() < needed + memory.SPARE:
        tell(f"{what}: left out, it needs {(needed + memory.SPARE) / 1e9:.1f} GB of free memory")
        return False
    tell(what)
    return True


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows to a CSV file, whole or not at all."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)
