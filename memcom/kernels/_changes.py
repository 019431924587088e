"""Changing the rows of tables by an optimizer's rule, where the kernels can."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from memcom.kernels._dispatch import HAVE_NUMBA, is_wanted
from memcom.kernels._kept import kept_program

if TYPE_CHECKING:
    from memcom.kernels._update import Change


def change(
    table: Tensor, rule: str, states: tuple[Tensor, ...], numbers: list[float]
) -> Change | None:
    """One step of an optimizer on the touched rows of a table, for the kernels to carry out.

    Args:
        table: What is to be changed.
        rule: ``"sgd"``, ``"adagrad"`` or ``"adam"``.
        states: The table's moments.
        numbers: The rule's constants; see `memcom.kernels._update.Change`.

    Returns:
        The step, or None where the kernels cannot do it: the tensors are not float32 matrices on
        the CPU, numba is not installed, or a plain path is asked for.
    """
    if not is_wanted() or table.ndim != 2:
        return None
    for tensor in (table, *states):
        if tensor.dtype != torch.float32 or not tensor.is_cpu or not tensor.is_contiguous():
            return None
    from memcom.kernels import _update

    return _update.Change(rule, states, numbers)


def carry_out(step: Change, table: Tensor, gradient: Tensor) -> None:
    """Carry out a `change` on the rows of ``table`` that the sparse ``gradient`` holds."""
    from memcom.kernels import _update

    _update.update(table, gradient, step)
    torch.autograd.graph.increment_version(table)


def change_during_backward(layer: Any, stepper: Callable[[Tensor], Any] | None) -> bool:
    """Have a layer's tables changed during the backward pass, instead of getting gradients.

    Args:
        layer: As for `fused`.
        stepper: Gives a table's next step: rule, states and numbers as for `change`; None for
            gradients again.

    Returns:
        Whether the layer is one whose tables the kernels can change so.
    """
    kept = kept_program(layer)
    if kept is None or not HAVE_NUMBA:
        return False
    kept.stepper = stepper
    return True
