"""Optimizers that change only the rows that were read.

With ``sparse=True`` a table's gradient holds only the rows that a batch read. The optimizers here
change those rows in place, in one compiled sweep where `memcom.kernels` can: the cost of a step is
proportional to the batch, not to the vocabulary, and nothing is allocated. Dense gradients, of the
other layers of a model, get the usual rules.

================  =============================================================  =================
`SGD`             w -= lr g                                                      no state
`RowwiseAdagrad`  s += mean(g^2);  w -= lr g / (sqrt(s) + eps)                   1 number a row
`LazyAdam`        Adam on the rows that were read; the others wait, moments too  2 numbers a weight
================  =============================================================  =================

Row-wise Adagrad keeps one number where Adagrad keeps a whole row, as FBGEMM's
``EXACT_ROWWISE_ADAGRAD`` does. Lazy Adam is the rule of `torch.optim.SparseAdam`.

Faster still is a step without a gradient in memory::

    optimizer = memcom.optim.LazyAdam(model.parameters())
    optimizer.fuse(model)      # once; the training loop stays as it is

From then on ``backward()`` changes a layer's rows, each as soon as its gradient is summed, and
``step()`` changes the remaining parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from memcom import kernels

State = tuple[Tensor, ...]


class _Rowwise(Optimizer):
    """Base of the three: finds the rows with a gradient, and steps compiled or by torch."""

    rule: str

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
            for weight in group["params"]:
                gradient = weight.grad
                if gradient is None:
                    continue
                states, numbers = self._advance(weight, group)
                step = None
                if gradient.is_sparse and gradient.sparse_dim() == 1:
                    step = kernels.fused_step(weight, self.rule, states, numbers)
                if step is not None:
                    kernels.apply_step(step, weight, gradient)
                else:
                    self._change(weight, gradient, states, numbers)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients, as torch does but without its profiler entry, which takes longer.

        Args:
            set_to_none: Drop the gradients, rather than fill them with zeros.
        """
        if not set_to_none:
            super().zero_grad(set_to_none=False)
            return
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    def fuse(self, module: nn.Module) -> list[str]:
        """Change the tables in ``module`` during the backward pass from now on.

        This works for layers that are a recipe of rows and nothing else, with float32 tables on the
        CPU and numba installed; `step` changes all others. There is then no gradient to inspect, to
        clip or to accumulate: every ``backward()`` is a step. A layer may be called once per step;
        torch raises an error if its rows change before a second call's backward pass. A lookup that
        is plain (see `memcom.kernels.explain`) still produces a gradient, and `step` uses it.

        Args:
            module: A layer, or a model that contains some.

        Returns:
            The names of the layers that are fused, ``""`` for ``module`` itself.

        Raises:
            ValueError: A table of a layer does not belong to this optimizer.
        """
        owned = {id(p) for group in self.param_groups for p in group["params"]}
        fused = []
        for name, layer in module.named_modules():
            if not hasattr(layer, "recipe"):
                continue
            for table, weight in layer.named_parameters():
                if weight.requires_grad and id(weight) not in owned:
                    raise ValueError(f"this optimizer does not have parameter {table} of {name!r}")
            if kernels.step_during_backward(layer, self._next_step):
                fused.append(name)
        return fused

    def _next_step(self, weight: Tensor) -> tuple[str, State, list[float]]:
        """Return a weight's next step, for the kernels."""
        group = next(g for g in self.param_groups if any(p is weight for p in g["params"]))
        return (self.rule, *self._advance(weight, group))

    def _advance(self, weight: Tensor, group: dict[str, Any]) -> tuple[State, list[float]]:
        """Return a weight's moments and the constants of its next step."""
        raise TypeError(f"{type(self).__name__} does not say how it steps")

    def _change(
        self, weight: Tensor, gradient: Tensor, states: State, numbers: list[float]
    ) -> None:
        """Change a weight with torch's own operations."""
        raise TypeError(f"{type(self).__name__} does not say how it changes a weight")


class SGD(_Rowwise):
    """Plain stochastic gradient descent, ``w -= lr * g``.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, >= 0.
    """

    rule = "sgd"

    def __init__(self, params: Iterable[Any], lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": _at_least("lr", lr, 0)})

    def _advance(self, weight: Tensor, group: dict[str, Any]) -> tuple[State, list[float]]:
        return (), [group["lr"]]

    def _change(
        self, weight: Tensor, gradient: Tensor, states: State, numbers: list[float]
    ) -> None:
        weight.add_(gradient, alpha=-numbers[0])


class RowwiseAdagrad(_Rowwise):
    """Adagrad with one sum of squares per row: that of the mean over the row.

    Args:
        params: Parameters or parameter groups. The last dimension of a parameter is its row.
        lr: Learning rate, >= 0.
        eps: Added to the root of the sum, >= 0.
    """

    rule = "adagrad"

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": _at_least("lr", lr, 0), "eps": _at_least("eps", eps, 0)})

    def _advance(self, weight: Tensor, group: dict[str, Any]) -> tuple[State, list[float]]:
        state = self.state[weight]
        if not state:
            state["sum"] = weight.new_zeros((*weight.shape[:-1], 1))
        return (state["sum"],), [group["lr"], group["eps"]]

    def _change(
        self, weight: Tensor, gradient: Tensor, states: State, numbers: list[float]
    ) -> None:
        (total,), (rate, eps) = states, numbers
        rows, g = _rows(gradient)
        total[rows] += g.square().mean(-1, keepdim=True)
        weight[rows] -= rate * g / (total[rows].sqrt() + eps)


class LazyAdam(_Rowwise):
    """Adam on the rows that were read; all others, and their moments, stay as they are.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, >= 0.
        betas: Decay of the two moments, each in ``[0, 1)``.
        eps: Added to the root of the second moment, >= 0.
    """

    rule = "adam"

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

    def _advance(self, weight: Tensor, group: dict[str, Any]) -> tuple[State, list[float]]:
        state = self.state[weight]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        one, two = group["betas"]
        rate = group["lr"] * (1 - two ** state["step"]) ** 0.5 / (1 - one ** state["step"])
        return (state["exp_avg"], state["exp_avg_sq"]), [rate, group["eps"], 1 - one, 1 - two]

    def _change(
        self, weight: Tensor, gradient: Tensor, states: State, numbers: list[float]
    ) -> None:
        (first, second), (rate, eps, one, two) = states, numbers
        rows, g = _rows(gradient)
        m, s = first[rows].lerp(g, one), second[rows].lerp(g.square(), two)
        first[rows], second[rows] = m, s
        weight[rows] -= rate * m / (s.sqrt() + eps)


def _rows(gradient: Tensor) -> tuple[Any, Tensor]:
    """Return the rows of a gradient, as an index, and their values."""
    if not gradient.is_sparse:
        return ..., gradient
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


def _at_least(name: str, value: float, low: float) -> float:
    if not value >= low:
        raise ValueError(f"{name} must be >= {low}, got {value}")
    return value
