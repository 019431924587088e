"""Gradients that are computed when they are read, so that a fused optimizer step needs none.

`backward` of a layer with a fused optimizer sorts the reads of its tables, and returns a
`DeferredGradient` for each. The optimizer's ``step()`` recognises these, and sweeps over the rows
without a gradient in memory. Everything else that touches one, such as clipping, a
`torch.amp.GradScaler`, accumulation, a hook, DDP or another optimizer, gets the real gradient: the
first operation of torch on it computes the gradients of all tables of the lookup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from memcom.kernels.cpu.sweeps import Sweep, sweep_gradients, sweep_steps
from memcom.kernels.cpu.update import Step
from memcom.kernels.gate import CPU
from memcom.kernels.program import FUSION, MULT, ROWS, SCALES, WEIGHTS, Program

_aten = torch.ops.aten
_detach = _aten.detach.default  # bound here because autograd calls it once for each gradient
# For these the values of a coalesced sparse gradient stand for all of it, and torch has no other
# implementation.
_ON_VALUES = {
    _aten.linalg_vector_norm.default,
    _aten._foreach_norm.Scalar,
    _aten.mul_.Tensor,
    _aten.mul_.Scalar,
    _aten._foreach_mul_.Tensor,
    _aten._foreach_mul_.Scalar,
    _aten._amp_foreach_non_finite_check_and_unscale_.default,
}


class DeferredLookup:
    """The backward pass of one lookup: sorted reads, and the gradients once they are computed."""

    def __init__(
        self, program: Program, ids: Tensor, grad: Tensor, needed: Sequence[bool], sparse: bool
    ) -> None:
        self.program, self.needed, self.sparse = program, needed, sparse
        self.gradients: list[Tensor | None] | None = None
        self._sweep: Sweep | None = Sweep(program, ids, grad)
        self._versions = self._now()

    def _now(self) -> list[int]:
        """Versions of what the gradients are still to be computed of."""
        assert self._sweep is not None
        head = self.program.code[0]
        depends = head[WEIGHTS] or head[SCALES] or (head[FUSION] == MULT and head[ROWS] > 1)
        tables = self.program.tables if depends else ()
        return [tensor._version for tensor in (self._sweep.grad, *tables)]

    def sweep(self) -> Sweep:
        """Return the sorted reads.

        Raises:
            RuntimeError: What the gradients are made of has changed since the backward pass, or
                its memory is gone.
        """
        if self._sweep is None:
            raise RuntimeError("this gradient has been used up by a fused step")
        if self._now() != self._versions:
            raise RuntimeError(
                "a table, or the gradient of the vectors, was changed in place between backward() "
                "and step(), and the gradient of a fused layer was not computed before: "
                "call optimizer.unfuse() to train such a model"
            )
        self._sweep.find_again()
        return self._sweep

    def compute(self) -> list[Tensor | None]:
        """Return the gradients of all tables."""
        if self.gradients is None:
            self.gradients = sweep_gradients(self.sweep(), self.needed, self.sparse)
            self._sweep = None
        return self.gradients

    def step(self, steps: Sequence[Step | None]) -> None:
        """Take a step on each table in place of its gradient."""
        sweep_steps(self.sweep(), steps)
        self._sweep = None

    def covers(self, weights: dict[int, Tensor]) -> bool:
        """Return True if ``weights`` are all tables that want a gradient, as they were read."""
        wanted = {k for k, need in enumerate(self.needed) if need}
        pairs = zip(self.program.marks, self.program.tables, strict=False)  # seeds come after
        return (
            self.gradients is None
            and set(weights) == wanted
            and all(self.program.tables[k] is weight for k, weight in weights.items())
            and all(mark.holds(table) for mark, table in pairs)
        )


class DeferredGradient(Tensor):
    """The gradient of one table of a `DeferredLookup`: dense to torch, computed when it is read.

    Args:
        lookup: The backward pass.
        which: Number of the table.
    """

    lookup: DeferredLookup
    which: int

    @staticmethod
    def __new__(cls, lookup: DeferredLookup, which: int) -> DeferredGradient:
        """Return a tensor of the table's shape without memory."""
        shape = lookup.program.held.tables[which].shape
        make: Any = Tensor._make_wrapper_subclass
        made: DeferredGradient = make(cls, shape, dtype=torch.float32, device=CPU)
        made.lookup, made.which = lookup, which
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def computed(self) -> Tensor:
        """Return the gradient itself, sparse if the layer's gradients are."""
        found = self.lookup.compute()
        value = found[self.which]
        assert value is not None
        if value.is_sparse and not value.is_coalesced():
            found[self.which] = value = value.coalesce()
        return value

    def __repr__(self) -> str:  # type: ignore[override]
        return f"DeferredGradient(shape={list(self.shape)})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation of torch on the gradient itself."""
        if func is _detach and isinstance(args[0], cls):
            return cls(args[0].lookup, args[0].which)
        replaced: dict[int, Tensor] = {}

        def value_of(item: Any) -> Any:
            if not isinstance(item, cls):
                return item
            value = item.computed()
            if value.is_sparse and func in _ON_VALUES:
                value = value._values()
            replaced[id(value)] = item
            return value

        unwrapped, named = tree_map(value_of, (args, kwargs or {}))
        result = func(*unwrapped, **named)
        return replaced.get(id(result), result)  # an operation in place returns its argument
