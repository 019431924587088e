"""A benchmark run: its parts, sizes and processes. One row for each measurement."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import candidates, growth, methods, training
from benchmarks.candidates import BAG, BASELINE, COPIED
from benchmarks.machine import SPARE, Load, free_memory, machine
from benchmarks.targets import (
    BAGS,
    CHECK,
    COPY,
    EVERY,
    FORWARD,
    GROWTH,
    MEMORY,
    PARTS,
    SCALE,
    SEARCH,
    STEP,
)
from memcom import kernels
from memcom._files import write_csv
from memcom._text import in_bytes
from memcom.embeddings import DHEmbedding
from memcom.profiling import draw_ids, interleave
from memcom.profiling.memory import KEEP_FREED_MEMORY

QUICK: dict[str, Any] = {
    "parts": list(PARTS),
    "sizes": [(10**6, 64)],
    "batches": [1, 4096, 65536],
    "kinds": ["zipf", "uniform"],
    "threads": [2],
    "seconds": 0.8,  # for all candidates that take turns
    "search": [10**5, 10**6],  # items
    "every": [10**6],  # ids of every method; training steps have a tenth
    "growth": [10**4, 10**6],
    "growth_batches": [1, 10**3, 10**5],
    "memory": [10**7],
    "scale": [10**8],
    "steps": 300,  # of the training at scale
}
FULL: dict[str, Any] = {
    **QUICK,
    "sizes": [(n, e) for n in (10**5, 10**6, 10**7) for e in (32, 64, 128)],
    "threads": [1, 2],
    "growth": [10**k for k in range(4, 9)],
    "growth_batches": [10**k for k in range(7)],
}

_DRAWN = 2**20  # ids drawn per kind: more rows than the caches hold
_CHECKED = 2**18  # ids in a lookup whose check is timed, so that the call itself no longer counts
_QUERIES = 64  # of a search
_STEPPED = 4096  # ids in a training step of a method

Log = Callable[[str], object]


def run(
    out: str | os.PathLike[str] | None = None,
    *,
    quick: bool = True,
    log: Log = lambda line: None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Measure everything, with a process for each number of threads.

    Args:
        out: CSV file to write, with the machine, its load and the versions in every row.
        quick: `QUICK`, the sizes of the targets, in minutes; else `FULL`, in half an hour.
        log: Called with a line at each new part.
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
    unknown = set(chosen["parts"]) - set(PARTS)
    if unknown:
        raise ValueError(f"parts are {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    load = Load()
    rows = [*_timed(chosen, log), *_memory(chosen, log), *_scale(chosen, log)]
    facts = {**load.read(), **machine()}
    rows = [{**row, **facts} for row in rows]
    if out is not None:
        write_csv(Path(out), rows)
    return rows


def _timed(chosen: dict[str, Any], log: Log) -> Iterator[dict[str, Any]]:
    if not set(chosen["parts"]) - {MEMORY, SCALE}:
        return
    logged = None
    for threads in chosen["threads"]:
        for row in child("time", chosen, threads, KEEP_FREED_MEMORY):
            what = f"{row['phase']}, {threads} threads"
            if "num_embeddings" in row:
                what += f", {row['num_embeddings']:,} x {row['embedding_dim']}"
            if what != logged:
                log(what)
            logged = what
            yield row


def _memory(chosen: dict[str, Any], log: Log) -> Iterator[dict[str, Any]]:
    """Rows of peak memory, where there is enough of it."""
    sizes = chosen["memory"] if MEMORY in chosen["parts"] else []
    first, *_ = training.OPTIMIZERS
    for n, batch in itertools.product(sizes, [b for b in chosen["batches"] if b > 1]):
        if not _fits(training.formula(first, n, 64), f"{MEMORY}, {n:,} x 64", log):
            continue
        found = {name: training.peak_memory(name, n, 64, batch) for name in training.OPTIMIZERS}
        baseline = found[first]["resident"] or math.nan  # a tiny table may fit into free pages
        for method, peaks in found.items():
            size, ratio = _size(n, 64, batch, "uniform"), peaks["resident"] / baseline
            row = {"phase": MEMORY, "method": method, "baseline": first}
            yield {**row, **size, "ratio": ratio, **peaks}


def _scale(chosen: dict[str, Any], log: Log) -> Iterator[dict[str, Any]]:
    """Rows of the model with more ids than a full table could have here."""
    for n in chosen["scale"] if SCALE in chosen["parts"] else []:
        if not _fits(3 * n * 64 * 4 // candidates.RATIO, f"{SCALE}, {n:,} x 64", log):
            continue
        batch, threads = max(chosen["batches"]), max(chosen["threads"])
        settings = {"n": n, "e": 64, "batch": batch, "steps": chosen["steps"]}
        for found in child("scale", settings, threads):
            row = {"phase": SCALE, "method": "memcom, lazy Adam", "baseline": "-"}
            yield {**row, **_size(n, 64, batch, "zipf"), "threads": threads, **found}


def child(
    kind: str, settings: dict[str, Any], threads: int, environment: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows that a fresh process prints: benchmarks/child.py."""
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {
        **os.environ,
        **(environment or {}),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    command = [sys.executable, "-m", "benchmarks.child", kind, json.dumps(settings)]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from map(json.loads, process.stdout)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _fits(needed: float, what: str, log: Log) -> bool:
    """Return whether there is enough memory; log the part that runs, or is left out."""
    if free_memory() < needed + SPARE:
        log(f"{what}: left out, it needs {in_bytes(needed + SPARE)} of free memory")
        return False
    log(what)
    return True


# --- in the process that times --------------------------------------------------------------------


def timed(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time the parts of `settings` in this process, with torch's threads as they are.

    Yields one row per method, part, size, batch and kind of ids.
    """
    kernels.warm_up()
    parts, seconds = settings["parts"], settings["seconds"]
    if COPY in parts:
        nothing = [torch.empty(0)]
        for row in _rows(COPY, candidates.copies(), nothing, seconds, {"batch": 0, "ids": "-"}):
            yield {**row, "bytes": 2 * COPIED}
    for n, e in settings["sizes"]:
        yield from _of_size(n, e, settings)
    for n in settings["search"] if SEARCH in parts else []:
        batches = _cut(draw_ids("uniform", n, 16 * _QUERIES), _QUERIES)
        size = _size(n, 64, _QUERIES, "uniform")
        yield from _rows(SEARCH, candidates.searches(n, 64), batches, seconds, size, warm_up=1)
    for n in settings["every"] if EVERY in parts else []:
        yield from _every(n, 64, settings)
    for n in settings["every"] if STEP in parts else []:
        size = _size(n // 10, 64, _STEPPED, "zipf")
        batches = _cut(draw_ids("zipf", n // 10, _DRAWN), _STEPPED)
        for group in methods.method_steps(n // 10, 64, _STEPPED):
            yield from _rows(STEP, group, batches, seconds, size)
        counted = [(ids, len(ids.unique())) for ids in batches]
        for group in methods.steps_beside_products(n // 10, 64, _STEPPED):
            yield from _rows(STEP, group, counted, seconds, size)
    # Growth with the most threads alone: its picture is of one machine, not of one core.
    most = torch.get_num_threads() == max(settings["threads"])
    for n in settings["growth"] if GROWTH in parts and most else []:
        yield from _growth(n, 64, settings)


def _every(n: int, e: int, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Lookups of every method, each in turns with the full table of its size."""
    sizes = [batch for batch in settings["batches"] if batch > 1]
    seconds = settings["seconds"] / 2  # for two candidates, as a rule
    tables, drawn = {}, {}
    for name, layer in methods.shipped(n, e):
        ids_of = layer.num_embeddings
        if ids_of not in tables:
            tables[ids_of] = nn.Embedding(ids_of, e)
            drawn[ids_of] = draw_ids("zipf", ids_of, max(_DRAWN, 8 * max(sizes)))
        group = candidates.without_gradients({BASELINE: tables[ids_of], name: layer})
        group |= methods.peers(name, ids_of, e, max(sizes))
        for batch in sizes:
            size, batches = _size(ids_of, e, batch, "zipf"), _cut(drawn[ids_of], batch)
            found = list(_rows(EVERY, group, batches, seconds, size))[1:]
            if isinstance(layer, DHEmbedding):
                counted = [(ids, len(ids.unique())) for ids in batches]
                pair = methods.beside_products(layer, batch)
                found += list(_rows(EVERY, pair, counted, seconds, size))[1:]
            for row in found:
                yield {**row, "checkpoint": layer.nbytes} if row["method"] == name else row


def _growth(n: int, e: int, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Lookups and steps of some methods with ``n`` ids, over the batches."""
    largest = max(settings["growth_batches"])
    ids = draw_ids("uniform", n, max(_DRAWN, 8 * largest))
    for group, nbytes in growth.groups(n, e, largest):
        for batch in settings["growth_batches"]:
            size, seconds = _size(n, e, batch, "uniform"), settings["seconds"] / 2
            for row in _rows(GROWTH, group, _cut(ids, batch), seconds, size):
                yield {**row, "checkpoint": nbytes[row["method"]]}


def _of_size(n: int, e: int, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Lookups, bags and training steps of one size, over the kinds of ids and the batches."""
    parts, seconds, largest = settings["parts"], settings["seconds"], max(settings["batches"])
    drawn = {kind: draw_ids(kind, n, max(_DRAWN, 8 * largest)) for kind in settings["kinds"]}
    groups = [
        (FORWARD, candidates.lookups),
        (BAGS, candidates.bags),
        (STEP, candidates.sgd_steps),
        (STEP, candidates.adam_steps),
        *([(STEP, candidates.dense_steps)] if n <= 10**6 else []),
    ]
    for phase, make in groups:
        if phase not in parts:
            continue
        group = make(n, e, largest)
        for batch, (kind, ids) in itertools.product(settings["batches"], drawn.items()):
            if batch == 1 and phase != FORWARD:
                continue
            whole = batch // BAG * BAG if phase == BAGS else batch
            yield from _rows(phase, group, _cut(ids, whole), seconds, _size(n, e, whole, kind))
        del group  # its tables are gone before the next group's exist
    if CHECK in parts and n >= 10**6:
        kind, ids = next(iter(drawn.items()))
        for group in candidates.id_checks(n, e):
            size = _size(n, e, _CHECKED, kind)
            yield from _rows(CHECK, group, _cut(ids, _CHECKED), seconds, size)


def _cut(ids: Tensor, batch: int) -> list[Tensor]:
    return list(ids[: len(ids) // batch * batch].view(-1, batch)[:2048])


def _size(n: int, e: int, batch: int, kind: str) -> dict[str, Any]:
    return {"num_embeddings": n, "embedding_dim": e, "batch": batch, "ids": kind}


def _rows(
    phase: str,
    group: candidates.Candidates,
    batches: Sequence[Any],
    seconds: float,
    size: dict[str, Any],
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Time candidates in turns; a row for each."""
    timings = interleave(group, batches, seconds=seconds, **options)
    baseline = next(iter(timings))
    for method, timing in timings.items():
        row = {"phase": phase, "method": method, "baseline": baseline, **size}
        row |= {"threads": torch.get_num_threads(), "rounds": timing.rounds}
        for name, median, (low, high) in (
            ("seconds", timing.median, timing.median_interval),
            ("ratio", timing.ratio, timing.interval),
        ):
            row |= {name: median, f"{name}_low": low, f"{name}_high": high}
        yield row
