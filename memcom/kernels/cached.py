"""The compiled program of a layer, kept from call to call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from memcom.kernels import gate
from memcom.kernels.assembly import Assembly, Unsupported, assemble
from memcom.kernels.gate import CPU, Mark
from memcom.kernels.program import compile_for, layout, unsupported_reason
from memcom.kernels.recipe import Recipe, TableLayer


def cached_program(layer: TableLayer, device: torch.device = CPU) -> CachedProgram:
    """Return the cached program of a layer, or compile it.

    Args:
        layer: A layer that is its reading and nothing else.
        device: Where the ids are, and the tables should be.

    Returns:
        The program cached with the layer; a new one if a tensor has changed or moved since.
    """
    cached: CachedProgram | None = layer.__dict__.get("_cached_program")
    if cached is None or not cached.holds(layer, device):
        deferred = cached is not None and cached.deferred
        cached = CachedProgram(layer, device, deferred)
        if cached.is_reusable:
            layer.__dict__["_cached_program"] = cached
    return cached


class CachedProgram:
    """The program of a layer, valid while its tensors are the same and stay where they are.

    A copied or unpickled layer starts without one.

    Args:
        layer: The layer.
        device: Where the ids are, and the tables should be.
        deferred: Gradients are computed when they are read: see `memcom.optim`.

    Attributes:
        reading: What the layer says that it reads.
        unsupported: Why it has no program; ``""`` if it has one.
        program: See `compile_for`; or an `Assembly`, which no step is fused with.
        backend: What `memcom.kernels.backend.choose` made of it.
        inner: The modules in the layer, which an assembly does not call; None for a program.
        deferred: Gradients are computed when they are read: see `memcom.optim`.
    """

    program: Any = None
    backend: Any = None
    inner: tuple[Any, ...] | None = None
    _arguments: tuple[Any, ...] | None = None
    _sources: list[tuple[dict[str, Any], str, Tensor, Mark]] | None = None
    _constants: tuple[tuple[Tensor, int], ...] = ()
    _keepers: tuple[Any, ...] = ()  # of `inner`, those that refuse averaged integers

    def __init__(self, layer: TableLayer, device: torch.device, deferred: bool = False) -> None:
        self.deferred = deferred
        self.reading = layer.reading()
        width = getattr(layer, "embedding_dim", None)
        self.unsupported = unsupported_reason(self.reading, device, width)
        if not self.unsupported:
            assert isinstance(self.reading, Recipe)
            plan = layout(self.reading, layer.num_embeddings, layer.padding_idx)
            self.program = compile_for(device, plan)
            self._keep(layer, device, [*plan.tables, *plan.seeds])
            return
        if self.reading is None:
            return
        try:
            limits = layer.num_embeddings, layer.padding_idx, width
            assembly = assemble(self.reading, *limits, device)
        except Unsupported as why:
            self.unsupported = str(why)
        else:
            self.unsupported, self.program = "", assembly
            self.inner = tuple(module for module in layer.modules() if id(module) != id(layer))
            self._keepers = tuple(m for m in self.inner if hasattr(m, "require_integers"))
            self._constants = assembly.constants
            self._keep(layer, device, assembly.sources)

    def _keep(self, layer: TableLayer, device: torch.device, tensors: Sequence[Tensor]) -> None:
        self._sources = _sources(layer, tensors)
        self._arguments = layer.num_embeddings, layer.padding_idx, layer.sparse, device

    def __reduce__(self) -> Any:
        return type(None), ()

    @property
    def is_reusable(self) -> bool:
        """True if the layer holds every tensor of the program, so that a change is noticed."""
        return self._sources is not None

    @property
    def can_be_fused(self) -> bool:
        """True if an optimizer's steps can be fused with the program."""
        return self.program is not None and not isinstance(self.program, Assembly)

    def holds(self, layer: TableLayer, device: torch.device) -> bool:
        """Return True if the program still reads what the layer holds."""
        arguments = layer.num_embeddings, layer.padding_idx, layer.sparse, device
        if self._sources is None or self._arguments != arguments:
            return False
        for place, name, tensor, mark in self._sources:
            if place.get(name) is not tensor or not mark.holds(tensor):
                return False
        return not self._constants or all(int(seed) == value for seed, value in self._constants)

    def calls_nobody(self) -> bool:
        """Return True if no module in the layer has hooks; raise if its integers were averaged."""
        for module in self.inner or ():
            if module._forward_hooks or module._forward_pre_hooks:
                return False
        for module in self._keepers:
            module.require_integers()
        return True


def _sources(layer: TableLayer, tensors: Sequence[Tensor]) -> Any:
    """Find where the layer holds each tensor; None if it does not hold one.

    A seed, which is int64, may be a view of what it holds. A table may not: FSDP makes new views
    of its parameter for each pass, and a gradient belongs to the new one.
    """
    places: list[dict[str, Any]] = []
    for module in layer.modules():
        places += [module._parameters, module._buffers]
    held = [(place, n, t) for place in places for n, t in place.items() if t is not None]
    found = []
    for tensor in tensors:
        same = [source for source in held if source[2] is tensor]
        if not same and tensor.dtype is torch.int64:
            same = [source for source in held if gate.same_storage(source[2], tensor)]
        if not same:
            return None
        found.append(same[0])
    return [(place, name, tensor, Mark(tensor)) for place, name, tensor in found]
