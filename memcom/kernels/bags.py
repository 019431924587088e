"""Bags, composed and pooled in one compiled sweep."""

from __future__ import annotations

import torch
from torch import Tensor

from memcom.kernels import assembly, loading, program
from memcom.kernels.assembly import Assembly
from memcom.kernels.backend import choose, load, wants_gradients
from memcom.kernels.cached import cached_program
from memcom.kernels.gate import CPU, readable
from memcom.kernels.program import Program
from memcom.kernels.recipe import TableLayer


def fused_bag(
    layer: TableLayer,
    ids: Tensor,
    offsets: Tensor,
    mode: str = "mean",
    per_sample_weights: Tensor | None = None,
) -> Tensor | None:
    """Compose and pool the rows of a layer in one compiled sweep, where it is a reading alone.

    Args:
        layer: As for `memcom.kernels.choose`.
        ids: ``(total,)``, not yet checked.
        offsets: int64 ``(bags + 1,)``: where each bag starts, and at last the number of ids.
        mode: ``"sum"`` or ``"mean"``. Padding does not count in a mean.
        per_sample_weights: float32 ``(total,)``, for ``"sum"``; each multiplies its row.

    Returns:
        Tensor of shape ``(bags, width)``; None if `memcom.kernels.choose` does not choose the
        compiled backend, the weights want a gradient, or rows that are more than fused, the mode is
        another, or the offsets do not rise from 0 to the number of ids.

    Raises:
        IndexError: An id is out of range.
    """
    weights = per_sample_weights
    if mode not in ("sum", "mean") or not ids.is_cpu or ids.ndim != 1:
        return None
    if weights is not None:
        fits = weights.is_cpu and weights.dtype is torch.float32 and weights.shape == ids.shape
        if mode != "sum" or weights.requires_grad or not fits:
            return None
    found = choose(layer, ids).program
    if offsets.ndim != 1 or len(offsets) < 1:
        return None
    if isinstance(found, Program):
        kernels, padding = "bag", int(found.code[0, program.PADDING])
    elif isinstance(found, Assembly):
        kernels, padding = "assemble", int(found.code[0, assembly.PADDING])
        if wants_gradients(found) or (weights is not None and found.dtype is not torch.float32):
            return None
    else:
        return None
    if loading.pending(kernels):
        return None
    offsets = offsets.to(torch.int64, copy=True)  # nobody else can change a copy after the check
    if int(offsets[0]) or int(offsets[-1]) != len(ids) or bool((offsets.diff() < 0).any()):
        return None
    load()
    factors = _factors(ids, offsets, mode, weights, padding)
    pooled: Tensor | None
    if isinstance(found, Assembly):
        pooled = loading.load("assemble").pooled(found, ids, offsets, factors)
    else:
        recipe = cached_program(layer).reading
        arguments = recipe, layer.sparse, ids, offsets, factors
        pooled = loading.load("bag").pooled(found, *arguments)
    return pooled


def _factors(
    ids: Tensor, offsets: Tensor, mode: str, weights: Tensor | None, padding: int
) -> Tensor:
    """Return what each id's row is multiplied by before the rows of a bag are summed."""
    if weights is not None:
        factors = readable(weights)
        # A zero vector times an infinite weight is not zero.
        return factors if padding < 0 else factors.masked_fill(ids == padding, 0)
    if mode == "sum":
        return torch.ones(len(ids), dtype=torch.float32, device=CPU)
    none = torch.zeros(1, dtype=torch.int64, device=CPU)
    before = torch.cat([none, (ids != padding).cumsum(0)])
    sizes = before[offsets].diff().clamp(min=1)  # padding does not count
    factors = sizes.float().reciprocal()
    return torch.repeat_interleave(factors, offsets.diff(), output_size=len(ids))
