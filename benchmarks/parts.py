"""The parts of a run that are timed in one process, and their rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import methods, steps
from benchmarks.methods import BAG, BASELINE, COPIED, Way
from benchmarks.registry import every_layer
from benchmarks.targets import BAGS, CHECK, COPY, EVERY, FORWARD, SEARCH, STEP
from memcom import kernels
from memcom.profiling import Timing, draw_ids, interleave

Ways = dict[str, Way]
_DRAWN = 2**20  # ids drawn per kind: more rows than the caches hold
_CHECKED = 2**18  # ids in a lookup whose check is timed: the calls around it no longer count
_QUERIES = 64  # of a search
_EVERY = 4096  # ids in a lookup of every method


def timed(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time what ``settings`` ask for in this process, with torch's threads as they are.

    Args:
        settings: See `benchmarks.runner.QUICK`.

    Yields:
        One row per method, part, size, batch and kind of ids.
    """
    kernels.warm_up()
    parts, seconds = settings["parts"], settings["seconds"]
    if COPY in parts:
        timings = interleave(methods.copy_ways(), [torch.empty(0)], seconds=seconds)
        for row in _rows(COPY, timings, {"batch": 0, "ids": "-"}):
            yield {**row, "bytes": 2 * COPIED}
    for n, e in settings["sizes"]:
        yield from _sized(n, e, settings)
    for n in settings["search"] if SEARCH in parts else []:
        batches = _cut(draw_ids("uniform", n, 16 * _QUERIES), _QUERIES)
        timings = interleave(methods.search_ways(n, 64), batches, seconds=seconds, warm_up=1)
        yield from _rows(SEARCH, timings, _place(n, 64, _QUERIES, "uniform"))
    for n in settings["every"] if EVERY in parts else []:
        batches = _cut(draw_ids("zipf", n, _DRAWN), _EVERY)
        table = nn.Embedding(n, 64)
        for name, layer in every_layer(n, 64):
            ways = methods.without_gradients({BASELINE: table, name: layer})
            timings = interleave(ways, batches, seconds=seconds)
            for row in _rows(EVERY, timings, _place(n, 64, _EVERY, "zipf")):
                if row["method"] == name:
                    yield {**row, "checkpoint": layer.nbytes}


def _sized(n: int, e: int, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Lookups, bags and training steps of one size, over the kinds of ids and the batches."""
    parts, seconds, largest = settings["parts"], settings["seconds"], max(settings["batches"])
    drawn = {kind: draw_ids(kind, n, max(_DRAWN, 8 * largest)) for kind in settings["kinds"]}
    for phase, make in _groups(n, parts):
        ways = make(n, e, largest)
        for batch, (kind, ids) in itertools.product(settings["batches"], drawn.items()):
            if batch == 1 and phase != FORWARD:
                continue
            whole = batch // BAG * BAG if phase == BAGS else batch
            timings = interleave(ways, _cut(ids, whole), seconds=seconds)
            yield from _rows(phase, timings, _place(n, e, whole, kind))
        del ways  # its tables are gone before the next group's exist
    if CHECK in parts and n >= 10**6:
        for ways in methods.check_ways(n, e):
            timings = interleave(ways, _cut(drawn[settings["kinds"][0]], _CHECKED), seconds=seconds)
            yield from _rows(CHECK, timings, _place(n, e, _CHECKED, settings["kinds"][0]))


def _groups(n: int, parts: list[str]) -> list[tuple[str, Callable[[int, int, int], Ways]]]:
    """Makers of ways that are to be compared with each other."""
    groups: list[tuple[str, Callable[[int, int, int], Ways]]] = [
        (FORWARD, methods.forward_ways),
        (BAGS, methods.bag_ways),
        (STEP, steps.sgd_ways),
        (STEP, steps.adam_ways),
    ]
    if n <= 10**6:
        groups.append((STEP, steps.dense_ways))
    return [group for group in groups if group[0] in parts]


def _cut(ids: Tensor, batch: int) -> list[Tensor]:
    return list(ids[: len(ids) // batch * batch].view(-1, batch)[:2048])


def _place(n: int, e: int, batch: int, kind: str) -> dict[str, Any]:
    return {"num_embeddings": n, "embedding_dim": e, "batch": batch, "ids": kind}


def _rows(
    phase: str, timings: dict[str, Timing], place: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    baseline = next(iter(timings))
    for method, timing in timings.items():
        row: dict[str, Any] = {"phase": phase, "method": method, "baseline": baseline, **place}
        row.update(threads=torch.get_num_threads(), rounds=timing.rounds)
        row |= _columns("seconds", timing.median, timing.median_interval)
        row |= _columns("ratio", timing.ratio, timing.interval)
        yield row


def _columns(name: str, median: float, interval: tuple[float, float]) -> dict[str, float]:
    return {name: median, f"{name}_low": interval[0], f"{name}_high": interval[1]}
