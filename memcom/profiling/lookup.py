"""Random ids to look up, and the time of a layer's lookup against a baseline's."""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from memcom._annotations import checked
from memcom._check import whole
from memcom.addresses import MAX_NUM_EMBEDDINGS
from memcom.data.synthetic import sample_zipf
from memcom.kernels import warm_up
from memcom.profiling.timing import Candidate, Timing, interleave

ZIPF_EXPONENT = 1.05


@checked
def draw_ids(
    popularity: str | np.ndarray,
    num_embeddings: int,
    count: int,
    seed: int | np.random.Generator = 0,
) -> Tensor:
    """Draw random ids to look up.

    Args:
        popularity: ``"uniform"``, ``"zipf"`` (id 0 is the most frequent, exponent 1.05), or counts
            `(num_embeddings,)` to draw by.
        num_embeddings: Number of ids.
        count: Ids to draw.
        seed: Seed, or a generator to draw from.

    Returns:
        int64 `(count,)`.

    Raises:
        ValueError: If the popularity is another word, or has another shape.
    """
    whole("num_embeddings", num_embeddings, 1, MAX_NUM_EMBEDDINGS)
    whole("count", count, 0, MAX_NUM_EMBEDDINGS - 1)
    rng = np.random.default_rng(
        seed if isinstance(seed, np.random.Generator) else whole("seed", seed, 0)
    )
    if not isinstance(popularity, str):
        if np.shape(popularity) != (num_embeddings,):
            raise ValueError(
                f"counts must have shape ({num_embeddings},), got {np.shape(popularity)}"
            )
        up_to = np.cumsum(popularity, dtype=np.float64)
        if not (0 < up_to[-1] < np.inf and np.min(popularity) >= 0):
            raise ValueError("counts must be finite and at least 0, and one must be above 0")
        ids = np.searchsorted(up_to, rng.random(count) * up_to[-1], side="right")
        return torch.from_numpy(ids.clip(max=num_embeddings - 1))
    if popularity == "uniform":
        return torch.from_numpy(rng.integers(0, num_embeddings, count))
    if popularity == "zipf":
        return torch.from_numpy(sample_zipf(num_embeddings, count, ZIPF_EXPONENT, rng))
    raise ValueError(f"popularity must be uniform, zipf or counts, got {popularity!r}")


@checked
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
    """Time a layer against a baseline by `interleave`, on fresh random ids in every round.

    Forward calls run without autograd; `backward` adds the gradient of the sum. The compiled
    lookups are loaded before, and compiled where need be.

    Args:
        emb: The layer, called as ``emb(ids)``.
        baseline: The layer to compare with, such as ``nn.Embedding``, of as many ids.
        batch_size: Ids per call.
        repeats: Rounds, at least 20; a tenth as many (at least 3) run before as warm-up.
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
    whole("repeats", repeats, 20, 10**6)  # fewer are too few for a claim
    whole("batch_size", batch_size, 1)
    whole("seed", seed, 0)
    if threads is not None:
        whole("threads", threads, 1, 1024)
    n, held = (_num_ids(layer) for layer in (emb, baseline))
    if held != n:
        raise ValueError(f"layer and baseline hold {n} and {held} ids")
    warm_up()
    device, rng = next(chain(emb.parameters(), emb.buffers())).device, np.random.default_rng(seed)
    popularity = "uniform" if counts is None else counts
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        found = interleave(
            {"baseline": _lookup(baseline, backward), "layer": _lookup(emb, backward)},
            lambda: draw_ids(popularity, n, batch_size, rng).to(device),
            warm_up=max(3, repeats // 10),
            least_rounds=repeats,
            most_rounds=repeats,
            same_batch=True,
        )
    finally:
        torch.set_num_threads(before)
    return found["layer"]


def _num_ids(layer: nn.Module) -> int:
    number = getattr(layer, "num_embeddings", None)
    if number is None:
        raise TypeError(f"expected an embedding layer, got {type(layer).__name__}")
    return int(number)


def _lookup(layer: nn.Module, backward: bool) -> Candidate:
    if not backward:
        return torch.no_grad()(lambda ids: layer(ids))
    trained = [p for p in layer.parameters() if p.requires_grad]
    return lambda ids: torch.autograd.grad(layer(ids).sum(), trained, allow_unused=True)
