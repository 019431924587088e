"""Whether Triton carries out lookups on a GPU, and why not. Needs no Triton to be imported."""

from __future__ import annotations

import functools
import importlib.util

import torch

from memcom.addresses import Digit
from memcom.kernels._lookup import Read, Recipe
from memcom.kernels._program import layout

HAVE_TRITON = importlib.util.find_spec("triton") is not None  # comes with torch for CUDA


def gpu_obstacle(device: torch.device, sparse: bool) -> str:
    """Why lookups on a GPU cannot be given to Triton in torch's present state, or ``""``.

    Args:
        device: The GPU.
        sparse: Whether gradients are to be sparse.
    """
    if not HAVE_TRITON:
        return "triton is not installed"
    if not sparse and torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled():
        return "deterministic algorithms are asked for, and sums by atomic operations are not"
    return trouble(device)


@functools.cache
def trouble(device: torch.device) -> str:
    """Why Triton cannot run on a device, or ``""``; found out by looking up one id."""
    try:
        from memcom.kernels import _triton

        recipe = Recipe((Read("table", torch.ones(1, 1, device=device), Digit(1)),))
        ids = torch.zeros(1, dtype=torch.int64, device=device)
        _triton.forward(ids, _triton.prepare(layout(recipe)))
    except Exception as error:  # no compiler, no driver, too old a GPU: they share no other type
        return f"triton does not work here: {type(error).__name__}: {error}".partition("\n")[0]
    return ""
