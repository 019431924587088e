"""Rows of different widths under one hard budget."""

from __future__ import annotations

import torch
from torch import Tensor

from memcom.embeddings._arguments import whole


def allocate(weights: Tensor, limit: int | Tensor, num_values: int) -> Tensor:
    """Return widths in proportion to ``weights``, clipped to ``limit``: int64 ``(n,)``.

    The limit is one number, as the width of a table, or one for each row. Row i gets
    ``floor(c w_i)`` numbers, with the largest c whose total is within ``num_values``. The remainder
    goes, one number each, to the rows that missed the next one most closely; on ties to the row of
    the smaller index. The widths add up exactly, and with one limit a row of larger weight is never
    narrower. Weights must be positive and finite.
    """
    limits = torch.as_tensor(limit, device=weights.device).expand(len(weights))
    whole("num_values", num_values, 0, int(limits.sum()))
    shares = weights.detach().double()
    if not bool((shares > 0).all() and shares.isfinite().all()):
        raise ValueError("weights must be positive and finite")
    shares = shares / shares.max()

    def widths(scale: float) -> Tensor:
        return (scale * shares).minimum(limits.double())

    low, high = 0.0, float(limits.max()) / float(shares.min())
    for _ in range(64):
        middle = (low + high) / 2
        if int(widths(middle).floor().sum()) > num_values:
            high = middle
        else:
            low = middle
    exact = widths(low)
    sizes = exact.floor().long()
    missed = ((exact - sizes) * 1e9).round()  # so that rounding does not decide between equals
    missed = missed.masked_fill(sizes == limits, -1.0)
    left = num_values - int(sizes.sum())
    sizes[missed.argsort(descending=True, stable=True)[:left]] += 1
    return sizes


def power_law(num_embeddings: int, alpha: float, device: torch.device | str = "cpu") -> Tensor:
    """Return weights ``(i + 1)**-alpha`` of ids sorted by frequency, float64 ``(n,)``."""
    if not alpha >= 0:
        raise ValueError(f"alpha must be >= 0, got {alpha}")
    rank = torch.arange(1, num_embeddings + 1, dtype=torch.float64, device=device)
    return rank**-alpha
