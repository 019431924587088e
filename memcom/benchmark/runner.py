"""A benchmark run: which sizes, in which processes, written where."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from memcom import kernels
from memcom.benchmark import memory
from memcom.benchmark.methods import BASELINE, Way, draw_ids, forward_ways, training_ways
from memcom.benchmark.targets import FORWARD, MEMORY, STEP
from memcom.benchmark.timing import Timing, interleave

# Keep freed memory instead of handing it back: else every large output costs thousands of page
# faults, and one measures malloc. Read by glibc when a process starts; others ignore it.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
QUICK: dict[str, Any] = {
    "sizes": [(10**6, 64)],
    "batches": [1, 4096, 65536],
    "kinds": ["zipf", "uniform"],
    "threads": [2],
    "seconds": 0.8,
    "memory": [],
}
FULL: dict[str, Any] = {
    "sizes": [(n, e) for n in (10**5, 10**6, 10**7) for e in (32, 64, 128)],
    "batches": [1, 4096, 65536],
    "kinds": ["zipf", "uniform"],
    "threads": [1, 2],
    "seconds": 4.0,
    "memory": [10**7],
}
_DRAWN = 2**20  # ids drawn per kind: more rows than the caches hold


def run(
    out: str | os.PathLike[str] | None = None, *, quick: bool = True, **settings: Any
) -> list[dict[str, Any]]:
    """Time everything, each thread count in a process of its own.

    Args:
        out: CSV file to write, with the machine and the versions in every row.
        quick: `QUICK`, the sizes of the targets, in about a minute; else `FULL`, in hours.
        **settings: Replace some of their entries.

    Returns:
        One dict per method, phase, size, batch, kind of ids and number of threads.
    """
    chosen = {**(QUICK if quick else FULL), **settings}
    unknown = set(chosen) - set(QUICK)
    if unknown:
        raise ValueError(f"settings are {', '.join(QUICK)}, got {', '.join(sorted(unknown))}")
    rows: list[dict[str, Any]] = []
    for threads in chosen["threads"]:
        rows += _in_own_process({**chosen, "threads": [threads]})
    for n, batch in itertools.product(chosen["memory"], chosen["batches"]):
        if batch > 1:
            rows += _memory_rows(n, 64, batch)
    facts = machine()
    rows = [{**row, **facts} for row in rows]
    if out is not None:
        write_csv(Path(out), rows)
    return rows


def _in_own_process(settings: dict[str, Any]) -> list[dict[str, Any]]:
    threads = str(settings["threads"][0])
    environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", "memcom.benchmark.child", "time", json.dumps(settings)]
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def timed(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time everything in this process, with torch's threads as they are; yields rows."""
    kernels.warm_up()
    largest = max(settings["batches"])
    for n, e in settings["sizes"]:
        drawn = {kind: draw_ids(kind, n, max(_DRAWN, 8 * largest)) for kind in settings["kinds"]}
        for phase, ways in _groups(n, e, largest):
            for batch, (kind, ids) in itertools.product(settings["batches"], drawn.items()):
                if phase == STEP and batch == 1:
                    continue
                batches = list(ids[: len(ids) // batch * batch].view(-1, batch)[:2048])
                timings = interleave(ways, batches, seconds=settings["seconds"])
                place = {"num_embeddings": n, "embedding_dim": e, "batch": batch, "ids": kind}
                yield from _rows(phase, timings, place)


def _groups(n: int, e: int, largest: int) -> Iterator[tuple[str, dict[str, Way]]]:
    """Ways to be compared with each other; one group's tables are gone before the next's exist."""
    yield FORWARD, forward_ways(n, e, largest)
    for ways in training_ways(n, e, largest, dense=n <= 10**6):
        yield STEP, ways


def _rows(
    phase: str, timings: dict[str, Timing], place: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    baseline = next(iter(timings))
    for method, timing in timings.items():
        row: dict[str, Any] = {"phase": phase, "method": method, "baseline": baseline, **place}
        row.update(threads=torch.get_num_threads(), rounds=timing.rounds)
        for name, (middle, low, high) in (("seconds", timing.seconds), ("ratio", timing.ratio)):
            row.update({name: middle, f"{name}_low": low, f"{name}_high": high})
        yield row


def _memory_rows(n: int, e: int, batch: int) -> list[dict[str, Any]]:
    methods = [f"{BASELINE}, Adam(fused)", "memcom, lazy Adam"]
    found = [memory.measure(method, n, e, batch) for method in methods]
    first = found[0].resident or math.nan  # a tiny table may fit into pages the process has already
    place = {"num_embeddings": n, "embedding_dim": e, "batch": batch, "ids": "uniform"}
    return [
        {
            **{"phase": MEMORY, "method": method, "baseline": methods[0], **place},
            **{"ratio": one.resident / first, **one._asdict()},
        }
        for method, one in zip(methods, found, strict=True)
    ]


def machine() -> dict[str, Any]:
    """What the numbers depend on: processor, cores, load, versions, time."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    versions = {name: _version(name) for name in ("memcom-kit", "torch", "numba", "numpy")}
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    facts = {"processor": model, "cores": os.cpu_count(), "load": round(load, 2), "time": moment}
    return {**facts, **versions}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows to a CSV file, whole or not at all."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)
