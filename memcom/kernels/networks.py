"""Elementwise work of deep hash embeddings, compiled where it can be: hashes and the activation.

Both are cheap beside matrix products if each number is read and written once, and dear if torch
goes over the numbers again and again: 25 times for a hash in 64-bit integers.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from memcom.addresses import HASH_BITS, is_traced, murmur3
from memcom.kernels.backend import is_wanted
from memcom.kernels.gate import flaw
from memcom.kernels.grouped import is_batched
from memcom.kernels.loading import load

WORTH = 1 << 15  # numbers from which the kernels are used: loading them takes a while


def hash_numbers(ids: Tensor, seeds: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return hashes of ids as numbers that are uniform between ``low`` and ``high``.

    Args:
        ids: int64 ``(n,)``, not negative.
        seeds: int64 ``(k,)`` in ``[0, 2**32)``, one for each hash.
        low: Least number.
        high: Largest number.

    Returns:
        float32 ``(n, k)``: ``low + (high - low) (murmur3(id, seed) + 1/2) / 2**32``.
    """
    step = (high - low) * 2.0**-HASH_BITS
    worth = not is_traced(ids) and _is_worth(ids, len(ids) * len(seeds), torch.int64)
    if worth and not flaw(seeds, (torch.int64,)):
        numbers: Tensor = load("networks").hash_numbers(ids, seeds, low, step)
        return numbers
    return low + step * (murmur3(ids.unsqueeze(-1), seeds).float() + 0.5)


def mish(x: Tensor) -> Tensor:
    """Return ``x tanh(log(1 + e^x))``, with all derivatives, as `torch.nn.functional.mish`."""
    if is_traced(x) or forward_ad._current_level >= 0 or not _is_worth(x, x.numel(), torch.float32):
        return F.mish(x)
    value: Tensor = _Mish.apply(x)
    return value


def _is_worth(numbers: Tensor, count: int, dtype: torch.dtype) -> bool:
    return count >= WORTH and not flaw(numbers, (dtype,)) and is_wanted("networks")


class _Mish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        value: Tensor = load("networks").mish(x)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(grad) or flaw(grad, (torch.float32,)):
            share = torch.tanh(F.softplus(x))
            return grad * (share + x * torch.sigmoid(x) * (1 - share * share))
        gradient: Tensor = load("networks").mish_gradient(grad, x)
        return gradient
