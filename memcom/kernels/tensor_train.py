"""A tensor train's vectors without a gradient, by the compiled kernels where they can."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from memcom.addresses import is_traced
from memcom.kernels.backend import WORTH_LOADING, is_wanted
from memcom.kernels.gate import flaw
from memcom.kernels.loading import load
from memcom.kernels.plain import all_rows, switch


def tensor_train(
    ids: Tensor, cores: Sequence[Tensor | nn.Module], dim_factors: Sequence[int], rank: int
) -> Tensor | None:
    """Multiply the slices of ids, each pair of last slices once.

    Args:
        ids: int64 ``(n,)``, checked to be below the product of the cores' rows; the digit of the
            first core is the least significant.
        cores: ``(m1, n1 R)``, ``(m2, R n2 R)``, ``(m3, R n3)``: a slice is a row. Packed
            ones are unpacked first.
        dim_factors: n1, n2 and n3.
        rank: R.

    Returns:
        float32 ``(n, n1 n2 n3)``; None where the kernels cannot take it: a gradient is wanted,
        a graph or a transform of torch is at work, the ids are few, the cores are not contiguous
        float32 on the CPU, numba is not installed, or `memcom.kernels.plain` is active.
    """
    if is_traced(ids) or len(ids) < WORTH_LOADING or switch.plain:
        return None
    if forward_ad._current_level >= 0 or flaw(ids, (torch.int64,)):
        return None
    tables = [all_rows(core) for core in cores]
    if torch.is_grad_enabled() and any(table.requires_grad for table in tables):
        return None
    n1, n2, n3 = dim_factors
    for table, width in zip(tables, (n1 * rank, rank * n2 * rank, rank * n3), strict=True):
        if flaw(table, (torch.float32,)) or table.ndim != 2 or table.shape[1] != width:
            return None
    if not is_wanted("tensor_train"):
        return None
    vectors: Tensor = load("tensor_train").vectors(ids, tables, dim_factors, rank)
    return vectors
