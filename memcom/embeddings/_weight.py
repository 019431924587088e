"""The full table that a layer stands for, as ``layer.weight`` of `torch.nn.Embedding` has it.

Shape, type and device are known without any work. All else composes the whole table first,
``num_embeddings * embedding_dim`` numbers, each time anew; gradients reach the layer's parameters.
There is no memory behind it, so what would write to it raises an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

_KNOWN = {"shape", "dtype", "device", "ndim", "layout", "requires_grad", "grad"}
_KNOWN |= {"is_cuda", "is_cpu", "is_meta", "is_sparse", "is_quantized", "is_nested", "itemsize"}
_KNOWN |= {"size", "dim", "ndimension", "numel", "nelement", "element_size", "__len__"}
_KNOWN |= {"is_floating_point", "is_complex", "get_device"}
_ALIASES = {"data", "detach", "__getitem__", "view", "t", "T", "mT"}
_WRITES = {"__setitem__", "__set__", "__delete__"}
_WRITES |= {f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "pow", "mod")}
_WRITES |= {f"__i{name}__" for name in ("and", "or", "xor", "lshift", "rshift")}


class ReadOnly(Tensor):
    """A tensor that refuses to be written to; what is computed from it are ordinary tensors."""

    _owner: str

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer what is known, refuse what would write, and do all else with the values."""
        name = func.__name__
        if name in ("__get__", "__set__", "__delete__"):  # of a property of tensors
            name = func.__self__.__name__ if name == "__get__" else name
        kwargs = kwargs or {}
        given = (*args[:1], *(kwargs.get(key) for key in ("input", "tensor", "out")))
        own = next((each for each in given if isinstance(each, ReadOnly)), None)
        with torch._C.DisableTorchFunctionSubclass():
            if own is not None and name in _KNOWN:
                return func(*args, **kwargs)
            writes = name in _WRITES or (name.endswith("_") and not name.endswith("__"))
            writes |= isinstance(kwargs.get("out"), ReadOnly)
            if own is not None and writes:
                raise RuntimeError(refusal(own._owner))
            args, kwargs = tree_map_only(ReadOnly, lambda t: t._values(), (args, kwargs))
            result = func(*args, **kwargs)
            if own is not None and name in _ALIASES and isinstance(result, Tensor):
                result = result.as_subclass(ReadOnly)
                result._owner = own._owner
            return result

    def _values(self) -> Tensor:
        return self.as_subclass(Tensor)


class ComposedWeight(ReadOnly):
    """The full table of a layer, composed whenever it is used.

    Attributes:
        _compose: Returns the table.
    """

    _compose: Callable[[], Tensor]

    @classmethod
    def of(cls, layer: Any, like: Tensor, compose: Callable[[], Tensor]) -> ComposedWeight:
        """Return the table of a layer, which holds no memory.

        Args:
            layer: A compressor.
            like: Has the type and the device of the table, and says if it has a gradient.
            compose: Returns the table.

        Returns:
            The tensor, ``(num_embeddings, embedding_dim)``.
        """
        found: ComposedWeight = Tensor._make_wrapper_subclass(
            cls,
            (layer.num_embeddings, layer.embedding_dim),
            dtype=like.dtype,
            device=like.device,
            requires_grad=like.requires_grad and torch.is_grad_enabled(),
        )
        found._owner, found._compose = type(layer).__name__, compose
        return found

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuse an operation that reached the memory that is not there."""
        raise RuntimeError(f"{func} cannot read a composed weight; give it layer.materialize()")

    def _values(self) -> Tensor:
        return self._compose()


def refusal(owner: str) -> str:
    """Return the reason why a weight is not written to."""
    return (
        f"{owner}.weight is composed from smaller tables and cannot be written to: "
        "reset_parameters(std) draws new values, fit_table(table) comes close to given ones, "
        "requires_grad_(False) of the layer freezes it; as the weight of two modules take a full "
        "table, memcom.FullEmbedding"
    )
