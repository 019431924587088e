"""Optimizer steps on the rows that have a gradient, where the compiled kernels can take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from memcom.kernels.backend import is_wanted, load
from memcom.kernels.cached import cached_program
from memcom.kernels.gate import flaw
from memcom.kernels.loading import HAVE_NUMBA
from memcom.kernels.recipe import TableLayer

if TYPE_CHECKING:
    from memcom.kernels.cpu.deferred import DeferredLookup
    from memcom.kernels.cpu.update import Step


def fused_step(
    table: Tensor, rule: str, states: tuple[Tensor, ...], numbers: list[float]
) -> Step | None:
    """Return one step of an optimizer on a table, for `apply_step`.

    Args:
        table: The table to change.
        rule: ``"sgd"``, ``"adagrad"`` or ``"adam"``.
        states: The table's moments: none, ``(rows, 1)``, or two of the table's shape.
        numbers: The rule's constants: (rate), (rate, eps) or (rate, eps, 1 - beta1, 1 - beta2).

    Returns:
        The step; None where the kernels cannot take it: the tensors are not contiguous float32
        matrices on the CPU, numba is not installed, the kernels are still being compiled, or
        `memcom.kernels.plain` is active.
    """
    if table.ndim != 2 or any(flaw(tensor, (torch.float32,)) for tensor in (table, *states)):
        return None
    if not is_wanted("autograd"):
        return None
    load()
    from memcom.kernels.cpu.update import Step

    return Step(rule, states, numbers)


def apply_step(step: Step, table: Tensor, gradient: Tensor) -> None:
    """Apply a `fused_step` to the rows of ``table`` that the sparse ``gradient`` holds."""
    from memcom.kernels.cpu.update import update

    update(table, gradient, step)
    torch.autograd.graph.increment_version(table)


def defer_gradients(layer: TableLayer, wanted: bool = True) -> bool:
    """Compute a layer's gradients when they are read, so that a fused step needs none.

    This loads the kernels, and waits until they are compiled.

    Args:
        layer: As for `memcom.kernels.choose`.
        wanted: False brings ordinary gradients back.

    Returns:
        False if the kernels cannot run the layer.
    """
    cached = cached_program(layer)
    if not cached.is_reusable or not cached.can_be_fused or not HAVE_NUMBA:
        return False
    if wanted:
        load()
    cached.deferred, cached.backend = wanted, None
    return True


def deferred_lookup(gradient: Tensor) -> DeferredLookup | None:
    """Return the lookup of a gradient that has not been computed yet, or None."""
    if type(gradient).__name__ != "DeferredGradient":
        return None
    lookup: DeferredLookup = gradient.lookup  # type: ignore[attr-defined]
    return lookup if lookup.gradients is None else None


def computed(gradient: Tensor) -> Tensor:
    """Return a gradient as an ordinary tensor."""
    if type(gradient).__name__ != "DeferredGradient":
        return gradient
    value: Tensor = gradient.computed()  # type: ignore[attr-defined]
    return value
