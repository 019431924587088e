"""Optimizers that change only the rows that were read.

With ``sparse=True`` a table's gradient holds the rows a batch read and nothing else. The optimizers
here change those rows in place, in one compiled sweep where `memcom.kernels` can: a step then costs
in proportion to the batch, not to the vocabulary, and allocates nothing. They take dense gradients
too (of the other layers of a model), to which they are the usual rules.

================  =============================================================  =================
`SGD`             w -= lr g                                                      no state
`RowwiseAdagrad`  s += mean(g^2);  w -= lr g / (sqrt(s) + eps)                   1 number a row
`LazyAdam`        Adam on the rows that were read; the others wait, moments too  2 numbers a weight
================  =============================================================  =================

Row-wise Adagrad keeps one number where Adagrad keeps a whole row (as FBGEMM's
``EXACT_ROWWISE_ADAGRAD`` does), lazy Adam is the rule of `torch.optim.SparseAdam`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from memcom.kernels import updates


class _Rowwise(Optimizer):
    """What the three have in common: which rows a gradient touches, and who changes them."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient.

        Args:
            closure: Computes the loss again; its gradients are used.

        Returns:
            What the closure returns, or None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def _change(
        self, weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        raise TypeError(f"{type(self).__name__} does not say how it changes a weight")


class SGD(_Rowwise):
    """Plain stochastic gradient descent, ``w -= lr * g``.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, >= 0.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": _at_least("lr", lr, 0)})

    def _change(
        self, weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        if not updates(weight, gradient, "sgd", (), [group["lr"]]):
            weight.add_(gradient, alpha=-group["lr"])


class RowwiseAdagrad(_Rowwise):
    """Adagrad with one sum of squares per row: that of the mean over the row.

    Args:
        params: Parameters or parameter groups. The last dimension of a parameter is its row.
        lr: Learning rate, >= 0.
        eps: Added to the root of the sum, >= 0.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": _at_least("lr", lr, 0), "eps": _at_least("eps", eps, 0)})

    def _change(
        self, weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        if not state:
            state["sum"] = weight.new_zeros((*weight.shape[:-1], 1))
        total, numbers = state["sum"], [group["lr"], group["eps"]]
        if updates(weight, gradient, "adagrad", (total,), numbers):
            return
        rows, g = _rows(gradient)
        total[rows] += g.square().mean(-1, keepdim=True)
        weight[rows] -= group["lr"] * g / (total[rows].sqrt() + group["eps"])


class LazyAdam(_Rowwise):
    """Adam on the rows that were read; all others, and their moments, stay as they are.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, >= 0.
        betas: Decay of the two moments, each in ``[0, 1)``.
        eps: Added to the root of the second moment, >= 0.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        for beta in betas:
            if not 0 <= beta < 1:
                raise ValueError(f"betas must be in [0, 1), got {betas}")
        numbers = {"lr": _at_least("lr", lr, 0), "betas": betas, "eps": _at_least("eps", eps, 0)}
        super().__init__(params, numbers)

    def _change(
        self, weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        first, second = state["exp_avg"], state["exp_avg_sq"]
        (one, two), eps = group["betas"], group["eps"]
        rate = group["lr"] * (1 - two ** state["step"]) ** 0.5 / (1 - one ** state["step"])
        if updates(weight, gradient, "adam", (first, second), [rate, eps, 1 - one, 1 - two]):
            return
        rows, g = _rows(gradient)
        m, s = first[rows].lerp(g, 1 - one), second[rows].lerp(g.square(), 1 - two)
        first[rows], second[rows] = m, s
        weight[rows] -= rate * m / (s.sqrt() + eps)


def _rows(gradient: Tensor) -> tuple[Any, Tensor]:
    """The rows a gradient has something for, as an index, and what it has for them."""
    if not gradient.is_sparse:
        return ..., gradient
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


def _at_least(name: str, value: float, low: float) -> float:
    if not value >= low:
        raise ValueError(f"{name} must be >= {low}, got {value}")
    return value
