"""Lookup time against a baseline: a ratio with an interval, never a single run.

Layer and baseline take turns on the same fresh ids, because clocks, caches and neighbours drift
within one run. The interval of the median ratio assumes no distribution.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Timing:
    """Time of a layer against a baseline, taken in turns in one run.

    Attributes:
        median: Median seconds per call of the layer.
        baseline_median: The same of the baseline.
        ratio: Median of the ratios of paired calls.
        interval: Interval that holds the true median ratio with at least 95 % confidence (order
            statistics; no assumption on the distribution).
        repeats: Number of pairs.
        batch_size: Ids per call.
        backward: Whether the backward pass is timed too.
        threads: Threads torch used.
        device: Where it ran.
    """

    median: float
    baseline_median: float
    ratio: float
    interval: tuple[float, float]
    repeats: int
    batch_size: int
    backward: bool
    threads: int
    device: str

    def __str__(self) -> str:
        what = "forward + backward" if self.backward else "forward"
        return (
            f"{self.ratio:.2f} times the baseline ({self.interval[0]:.2f} to "
            f"{self.interval[1]:.2f}, 95 %): {self.median * 1e6:,.0f} µs against "
            f"{self.baseline_median * 1e6:,.0f} µs, {what} of {self.batch_size:,} ids on "
            f"{self.device}, {self.threads} thread(s), median of {self.repeats} interleaved pairs"
        )


def median_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for the median from order statistics, with at least the given confidence.

    Args:
        values: `(n,)` independent measurements.
        confidence: Wanted coverage, below 1.

    Returns:
        The narrowest symmetric pair of order statistics that covers the median that often.

    Raises:
        ValueError: If `n` is too small for this confidence (6 for 95 %).
    """
    ordered, n = np.sort(values), len(values)
    outside = 0.0
    cut = -1
    while outside + 2 * comb(n, cut + 1) / 2**n <= 1 - confidence:
        cut += 1
        outside += 2 * comb(n, cut) / 2**n
    if cut < 0:
        raise ValueError(f"{n} values cannot give a {confidence:.0%} interval for the median")
    return float(ordered[cut]), float(ordered[n - 1 - cut])


def time_lookup(
    emb: nn.Module,
    baseline: nn.Module,
    batch_size: int = 4096,
    *,
    repeats: int = 101,
    backward: bool = False,
    counts: np.ndarray | None = None,
    threads: int | None = None,
    seed: int = 0,
) -> Timing:
    """Time a layer against a baseline, taking turns, on fresh random ids in every pair.

    Each pair draws new ids outside the clock, gives them to both, and swaps who goes first.
    Forward calls run without autograd; `backward` adds the gradient of the sum. The garbage
    collector is off meanwhile, and an accelerator is waited for.

    Args:
        emb: The layer, called as ``emb(ids)``.
        baseline: What it is compared with, for example ``nn.Embedding``, of as many ids.
        batch_size: Ids per call.
        repeats: Pairs, at least 20; a tenth as many (at least 3) run before as warm-up.
        backward: Whether to time the backward pass too.
        counts: Popularity `(num_embeddings,)` to draw ids by; uniform if None.
        threads: Threads for torch meanwhile; as it is set if None.
        seed: Seed of the ids.

    Returns:
        Medians, their ratio, and its interval.

    Raises:
        ValueError: If `repeats` is below 20, `batch_size` below 1, or the layers differ in the
            number of ids.
    """
    if repeats < 20:
        raise ValueError(f"repeats must be at least 20 for a claim, got {repeats}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    n = int(emb.num_embeddings)  # type: ignore[arg-type]
    if baseline.num_embeddings != n:
        raise ValueError(f"layer and baseline hold {n} and {baseline.num_embeddings} ids")
    device = next(emb.parameters()).device
    draw = _draw_ids(n, batch_size, counts, seed)
    before = torch.get_num_threads()
    collecting = gc.isenabled()
    times = np.empty((repeats, 2))
    try:
        torch.set_num_threads(threads or before)
        gc.disable()
        for pair in range(-max(3, repeats // 10), repeats):
            ids = draw().to(device)
            order = (0, 1) if pair % 2 else (1, 0)
            for which in order:
                seconds = _time_one((emb, baseline)[which], ids, backward)
                if pair >= 0:
                    times[pair, which] = seconds
        used = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()
    ratios = times[:, 0] / times[:, 1]
    medians = np.median(times, axis=0)
    return Timing(
        median=float(medians[0]),
        baseline_median=float(medians[1]),
        ratio=float(np.median(ratios)),
        interval=median_interval(ratios),
        repeats=repeats,
        batch_size=batch_size,
        backward=backward,
        threads=used,
        device=str(device),
    )


def _draw_ids(
    n: int, batch_size: int, counts: np.ndarray | None, seed: int
) -> Callable[[], torch.Tensor]:
    """Make a function that gives new random ids at every call."""
    rng = np.random.default_rng(seed)
    if counts is None:
        return lambda: torch.from_numpy(rng.integers(0, n, batch_size))
    if np.shape(counts) != (n,):
        raise ValueError(f"counts must have shape ({n},), got {np.shape(counts)}")
    up_to = np.cumsum(counts, dtype=np.float64)
    return lambda: torch.from_numpy(
        np.searchsorted(up_to, rng.random(batch_size) * up_to[-1], side="right").clip(max=n - 1)
    )


def _time_one(layer: nn.Module, ids: torch.Tensor, backward: bool) -> float:
    """Seconds of one call; gradients are dropped before the clock starts."""
    layer.zero_grad(set_to_none=True)
    wait = torch.cuda.synchronize if ids.is_cuda else (lambda: None)
    wait()
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        vectors = layer(ids)
        if backward:
            vectors.sum().backward()
    wait()
    return time.perf_counter() - start
