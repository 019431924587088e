"""Repeated ids once: for layers in which a vector takes work, not just a row."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST = 512  # ids in a lookup below which sorting them is not worth it


def once_each(ids: Tensor, compose: Callable[[Tensor], Tensor]) -> Tensor:
    """``compose(ids)``, computed once for each distinct id.

    In graphs, transforms and on the meta device, where the number of distinct ids cannot be known,
    and for a few ids, it is just ``compose(ids)``.

    Args:
        ids: int64 tensor of any shape.
        compose: Gives ``(*ids.shape, width)`` for ids of any shape, each by itself.

    Returns:
        Tensor of shape ``(*ids.shape, width)``.
    """
    if (
        torch.compiler.is_compiling()
        or ids.is_meta
        or ids.numel() < FEWEST
        or type(ids) is not Tensor
        or torch._C._are_functorch_transforms_active()
    ):
        return compose(ids)
    distinct, place = torch.unique(ids, return_inverse=True)
    return F.embedding(place, compose(distinct))
