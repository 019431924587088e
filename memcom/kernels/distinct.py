"""Lookups of each distinct id once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from memcom.kernels.backend import is_wanted
from memcom.kernels.gate import flaw
from memcom.kernels.loading import is_loaded

DEDUP_FROM = 512  # ids in a lookup from which sorting them pays


def dedup(ids: Tensor, compose: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``compose(ids)``, computed once per distinct id.

    Falls back to ``compose(ids)`` for few ids, and where the number of distinct ids cannot be
    known: in graphs, in transforms and on the meta device.

    Args:
        ids: int64 tensor of any shape.
        compose: From ids of any shape to ``(*ids.shape, width)``; each id for itself.

    Returns:
        Tensor of shape ``(*ids.shape, width)``.
    """
    if (
        torch.compiler.is_compiling()
        or ids.is_meta
        or ids.numel() < DEDUP_FROM
        or type(ids) is not Tensor
        or torch._C._are_functorch_transforms_active()
    ):
        return compose(ids)
    distinct, place = _distinct(ids.flatten())
    # The gradient of index_select sums rows more quickly than that of F.embedding.
    return compose(distinct).index_select(0, place).unflatten(0, ids.shape)


def _distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct ids, ascending, and the place of each id among them.

    The compiled sort takes a fifth of the time, which is not worth loading kernels for.
    """
    if is_loaded("autograd") and is_wanted("autograd") and not flaw(ids, (torch.int64,)):
        from memcom.kernels.cpu.sorting import distinct

        found = distinct(ids)
        if found is not None:
            return found
    return torch.unique(ids, return_inverse=True)
