"""The compiled program of a layer, kept from call to call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memcom.kernels import gate
from memcom.kernels.gate import CPU, Mark
from memcom.kernels.program import Layout, compile_for, layout, unsupported_reason
from memcom.kernels.recipe import TableLayer


def cached_program(layer: TableLayer, device: torch.device = CPU) -> CachedProgram:
    """Return the cached program of a layer, or compile it.

    Args:
        layer: A layer that is its recipe and nothing else.
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
        recipe: The layer's recipe.
        unsupported: Why it has no program; ``""`` if it has one.
        program: See `compile_for`.
        backend: What `memcom.kernels.backend.choose` made of it.
        deferred: Gradients are computed when they are read: see `memcom.optim`.
    """

    program: Any = None
    backend: Any = None
    _arguments: tuple[Any, ...] | None = None
    _sources: list[tuple[dict[str, Any], str, Tensor, Mark]] | None = None

    def __init__(self, layer: TableLayer, device: torch.device, deferred: bool = False) -> None:
        self.deferred = deferred
        self.recipe = layer.recipe()
        self.unsupported = unsupported_reason(self.recipe, device)
        if not self.unsupported:
            plan = layout(self.recipe, layer.num_embeddings, layer.padding_idx)
            self.program = compile_for(device, plan)
            self._sources = _sources(layer, plan)
            self._arguments = layer.num_embeddings, layer.padding_idx, layer.sparse, device

    def __reduce__(self) -> Any:
        return type(None), ()

    @property
    def is_reusable(self) -> bool:
        """True if the layer holds every tensor of the program, so that a change is noticed."""
        return self._sources is not None

    def holds(self, layer: TableLayer, device: torch.device) -> bool:
        """Return True if the program still reads what the layer holds."""
        arguments = layer.num_embeddings, layer.padding_idx, layer.sparse, device
        if self._sources is None or self._arguments != arguments:
            return False
        for place, name, tensor, mark in self._sources:
            if place.get(name) is not tensor or not mark.holds(tensor):
                return False
        return True


def _sources(layer: TableLayer, plan: Layout) -> Any:
    """Find where the layer holds each tensor of the plan; None if it does not hold one."""
    places: list[dict[str, Any]] = []
    for module in layer.modules():
        places += [module._parameters, module._buffers]
    held = [(place, n, t) for place in places for n, t in place.items() if t is not None]
    found = []
    for tensor in plan.tables:
        found += [source for source in held if source[2] is tensor][:1]
    for seed in plan.seeds:
        found += [source for source in held if gate.same_storage(source[2], seed)][:1]
    if len(found) < len(plan.tables) + len(plan.seeds):
        return None
    return [(place, name, tensor, Mark(tensor)) for place, name, tensor in found]
