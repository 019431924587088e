"""A layer's program, kept from call to call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from memcom.kernels._lookup import Recipe
from memcom.kernels._program import CPU, Layout, bind, layout, obstacle


def kept_program(layer: Any, device: torch.device = CPU) -> KeptProgram | None:
    """The program kept with a layer, made anew if need be; None if it cannot be kept.

    Args:
        layer: As for `memcom.kernels.fused`.
        device: Where the ids are, and the tables should be.
    """
    kept: KeptProgram | None = layer.__dict__.get("_kept_program")
    if kept is None:
        kept = layer.__dict__["_kept_program"] = KeptProgram()
    return kept if kept.holds(layer, device) or kept.renew(layer, device) else None


def made_for(device: torch.device, plan: Layout) -> Any:
    """The `Program`, or on a GPU the `GpuProgram`, of a layout whose tensors are on a device."""
    if device == CPU:
        return bind(plan)
    from memcom.kernels import _triton

    return _triton.prepare(plan)


class KeptProgram:
    """A layer's program, kept as long as its tensors are the same and stay where they are.

    A copied or unpickled layer starts with an empty one.
    """

    __slots__ = ("arguments", "program", "recipe", "sources", "stepper")

    program: Any  # see `made_for`
    recipe: Recipe

    def __init__(self) -> None:
        self.sources: list[tuple[dict[str, Any], str, Tensor, int]] = []
        self.arguments: tuple[int, int | None, torch.device] | None = None
        self.stepper: Any = None  # changes a table during the backward pass: see `memcom.optim`

    def __reduce__(self) -> tuple[type[KeptProgram], tuple[()]]:
        return KeptProgram, ()

    def holds(self, layer: Any, device: torch.device) -> bool:
        """Whether the program still reads what the layer holds."""
        if self.arguments != (layer.num_embeddings, layer.padding_idx, device):
            return False
        for place, name, tensor, address in self.sources:
            if place.get(name) is not tensor or tensor.data_ptr() != address:
                return False
        return True

    def renew(self, layer: Any, device: torch.device) -> bool:
        """Make the program anew; False if the layer has none, or one that cannot be kept."""
        recipe = layer.recipe()
        if obstacle(recipe, device):
            return False
        plan = layout(recipe, layer.num_embeddings, layer.padding_idx)
        sources = _sources(layer, plan)
        if sources is None:
            return False
        self.program, self.recipe = made_for(device, plan), recipe
        self.sources = sources
        self.arguments = layer.num_embeddings, layer.padding_idx, device
        return True


def _sources(layer: nn.Module, plan: Layout) -> Any:
    """Where the layer holds every tensor of the plan, or None if it holds one nowhere."""
    places: list[dict[str, Any]] = []
    for module in layer.modules():
        places += [module._parameters, module._buffers]
    held = [(place, n, t) for place in places for n, t in place.items() if t is not None]
    found = []
    for tensor in plan.tables:
        found += [source for source in held if source[2] is tensor][:1]
    for seed in plan.seeds:
        storage = seed.untyped_storage().data_ptr()
        found += [s for s in held if s[2].untyped_storage().data_ptr() == storage][:1]
    if len(found) < len(plan.tables) + len(plan.seeds):
        return None
    return [(place, name, tensor, tensor.data_ptr()) for place, name, tensor in found]
