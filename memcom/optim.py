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

From then on ``backward()`` only sorts what was read, and ``step()`` changes a layer's rows, each as
soon as its gradient is summed. What needs the gradient in between gets it: clipping,
`torch.amp.GradScaler`, several backward passes, several calls of a layer, hooks, DDP and other
optimizers compute it by touching ``parameter.grad``, and the results are those without ``fuse``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from memcom import kernels
from memcom._check import real, shown

State = tuple[Tensor, ...]


class _Move(NamedTuple):
    """One parameter's next step."""

    weight: Tensor
    gradient: Tensor
    states: State
    numbers: list[float]


def _unfuse(layers: weakref.WeakSet[Any], inside: set[nn.Module] | None) -> None:
    """Bring back the gradients of the layers, or of those ``inside``."""
    for layer in list(layers):
        if inside is None or layer in inside:
            kernels.defer_gradients(layer, False)
            layers.discard(layer)


class _Rowwise(Optimizer):
    """Base of the three: finds the rows with a gradient, and steps compiled or by torch."""

    rule: str

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        self._start()

    def _start(self) -> None:
        self._fused: weakref.WeakSet[Any] = weakref.WeakSet()
        weakref.finalize(self, _unfuse, self._fused, None).atexit = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start a copied or unpickled optimizer without fused layers."""
        super().__setstate__(state)
        if "_fused" not in self.__dict__:  # load_state_dict comes here too
            self._start()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as torch does.

        Args:
            param_group: ``params`` and, if they differ from the defaults, this rule's options.

        Raises:
            ValueError: An option is none of this rule's, such as ``weight_decay``.
        """
        unknown = set(param_group) - {"params", "param_names", "initial_lr"} - set(self.defaults)
        if unknown:
            known = ", ".join(self.defaults)
            raise ValueError(f"{type(self).__name__} has {known}, not {', '.join(sorted(unknown))}")
        super().add_param_group(param_group)

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
        moves = [
            _Move(weight, weight.grad, *self._advance(weight, group))
            for group in self.param_groups
            for weight in group["params"]
            if weight.grad is not None
        ]
        fused = self._fused_moves(moves)
        for lookup, steps, weights in fused:
            lookup.step(steps)
            for weight in weights:
                weight.grad = None
        done = {id(weight) for _, _, weights in fused for weight in weights}
        for weight, gradient, states, numbers in moves:
            if id(weight) in done:
                continue
            gradient = kernels.computed(gradient)
            step = None
            if gradient.is_sparse and gradient.sparse_dim() == 1:
                step = kernels.fused_step(weight, self.rule, states, numbers)
            if step is not None:
                kernels.apply_step(step, weight, gradient)
            else:
                self._change(weight, gradient, states, numbers)
        return loss

    def _fused_moves(self, moves: list[_Move]) -> list[tuple[Any, list[Any], list[Tensor]]]:
        """Find the lookups that need no gradient; compute those of all others, before any step."""
        found: dict[int, tuple[Any, dict[int, _Move]]] = {}
        for move in moves:
            lookup = kernels.deferred_lookup(move.gradient)
            if lookup is not None:
                of_lookup = found.setdefault(id(lookup), (lookup, {}))[1]
                of_lookup[move.gradient.which] = move  # type: ignore[attr-defined]
        fused = []
        for lookup, of_lookup in found.values():
            steps: list[Any] = [None] * len(lookup.needed)
            if lookup.covers({which: move.weight for which, move in of_lookup.items()}):
                for which, move in of_lookup.items():
                    steps[which] = kernels.fused_step(
                        move.weight, self.rule, move.states, move.numbers
                    )
            if all(steps[which] is not None for which in of_lookup):
                fused.append((lookup, steps, [move.weight for move in of_lookup.values()]))
            else:
                lookup.compute()
        return fused

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
        """Change the tables in ``module`` without a gradient in memory from now on.

        This works for layers that are a recipe of rows and nothing else, with float32 tables on the
        CPU and numba installed; all others have gradients as before. ``parameter.grad`` of a fused
        table is a tensor that is computed by the first operation on it, and None after `step`.
        A table must not be changed in place between ``backward()`` and ``step()`` unless the
        gradient was touched before; that raises RuntimeError.

        The kernels are loaded now; where they have not been compiled yet, this waits for it. The
        layers are unfused when the optimizer is deleted.

        Args:
            module: A layer, or a model that contains some.

        Returns:
            The names of the layers that are fused, ``""`` for ``module`` itself.

        Raises:
            TypeError: ``module`` is no module.
            ValueError: A table of a layer does not belong to this optimizer.
        """
        _require_module(module)
        owned = {id(p) for group in self.param_groups for p in group["params"]}
        fused = []
        for name, layer in module.named_modules():
            if not hasattr(layer, "recipe"):
                continue
            for table, weight in layer.named_parameters():
                if weight.requires_grad and id(weight) not in owned:
                    raise ValueError(f"this optimizer does not have parameter {table} of {name!r}")
            if kernels.defer_gradients(layer):
                fused.append(name)
                self._fused.add(layer)
        return fused

    def unfuse(self, module: nn.Module | None = None) -> None:
        """Undo `fuse`: layers have ordinary gradients again.

        Args:
            module: A layer, or a model that contains some; None for all that are fused.

        Raises:
            TypeError: ``module`` is no module.
        """
        if module is not None:
            _require_module(module)
        inside = None if module is None else set(module.modules())
        _unfuse(self._fused, inside)

    def _state_of(self, weight: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a moment of a weight, after a check: kernels write to it without any."""
        state: Tensor = self.state[weight][name]
        if tuple(state.shape) != shape or state.dtype != weight.dtype:
            raise ValueError(
                f"the optimizer's state {name!r} of {self._name_of(weight)}, of shape "
                f"{list(weight.shape)} and {weight.dtype}, must be {list(shape)} and "
                f"{weight.dtype}, got {list(state.shape)} and {state.dtype}"
            )
        return state

    def _name_of(self, weight: Tensor) -> str:
        """Name of a parameter for messages: torch's, where it was told, else its number."""
        number = 0
        for group in self.param_groups:
            names = group.get("param_names")
            for k, other in enumerate(group["params"]):
                if other is weight:
                    return f"parameter {names[k]!r}" if names else f"parameter {number}"
                number += 1
        return "a parameter"

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
        super().__init__(params, {"lr": real("lr", lr, 0)})

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
        super().__init__(params, {"lr": real("lr", lr, 0), "eps": real("eps", eps, 0)})

    def _advance(self, weight: Tensor, group: dict[str, Any]) -> tuple[State, list[float]]:
        state = self.state[weight]
        if not state:
            state["sum"] = weight.new_zeros((*weight.shape[:-1], 1))
        total = self._state_of(weight, "sum", (*weight.shape[:-1], 1))
        return (total,), [group["lr"], group["eps"]]

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
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas must be two numbers in [0, 1), got {shown(betas)}")
        for beta in betas:
            if not 0 <= real("betas", beta) < 1:
                raise ValueError(f"betas must be in [0, 1), got {betas}")
        numbers = {"lr": real("lr", lr, 0), "betas": betas, "eps": real("eps", eps, 0)}
        super().__init__(params, numbers)

    def _advance(self, weight: Tensor, group: dict[str, Any]) -> tuple[State, list[float]]:
        state = self.state[weight]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        moments = tuple(
            self._state_of(weight, name, tuple(weight.shape)) for name in ("exp_avg", "exp_avg_sq")
        )
        state["step"] += 1
        one, two = group["betas"]
        rate = group["lr"] * (1 - two ** state["step"]) ** 0.5 / (1 - one ** state["step"])
        return moments, [rate, group["eps"], 1 - one, 1 - two]

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


def _require_module(value: Any) -> None:
    if not isinstance(value, nn.Module):
        raise TypeError(f"module must be a layer or a model, got {shown(value)}")
