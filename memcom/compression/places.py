"""Tables of a model: where they are, what else holds them, and new layers in their place."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memcom._check import choice, flag, real, shown
from memcom._text import parse_nbytes
from memcom.budget import BudgetError, Plan, plan
from memcom.compression import hugging_face
from memcom.compression.heads import SharedHead
from memcom.compression.report import Compressed, CompressedTable
from memcom.embeddings import CompressedEmbedding, EmbeddingBag, FullEmbedding, parse_spec

TIED = ("refuse", "keep", "share")


@dataclass
class Place:
    """A table, and the modules of a model that look it up."""

    names: list[str]
    modules: list[nn.Module]
    weight: Tensor
    padding_idx: int | None
    sparse: bool
    heads: dict[str, nn.Linear] = field(default_factory=dict)

    @property
    def table(self) -> Tensor:
        """The table without its gradient."""
        return self.weight.detach()

    @property
    def name(self) -> str:
        """The first of the names, for reports."""
        return self.names[0] or "table"

    @property
    def parameter(self) -> str:
        """The table's name among the parameters of the model."""
        return f"{self.names[0]}.weight".lstrip(".") if self.modules else "table"

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return self.weight.numel() * self.weight.element_size()

    def also(self, parameter: Tensor) -> bool:
        """True if a parameter is this table, or shares its memory."""
        if parameter is self.weight:
            return True
        if parameter.is_meta or self.weight.is_meta:
            return False
        return parameter.untyped_storage().data_ptr() == self.weight.untyped_storage().data_ptr()


Made = tuple[CompressedEmbedding, CompressedTable]


def find(
    model: Tensor | nn.Module | np.ndarray,
    min_rows: int,
    *,
    tied: str,
    inplace: bool,
    trained: bool,
) -> tuple[list[Place], dict[str, str]]:
    """Return the tables to replace, each once, and the embeddings that stay, with the reason.

    Args:
        model: A table, an embedding, or a model around some.
        min_rows: Smaller tables of a model stay.
        tied: What becomes of other parameters that are such a table; one of `TIED`.
        inplace: The model itself will be changed.
        trained: The rows have values that count.

    Returns:
        The places, and the reasons by the name of what stays.
    """
    choice("tied", tied, TIED)
    if not isinstance(model, nn.Module):
        rows = _tensor(model) if isinstance(model, np.ndarray) else model
        places, kept = [Place([""], [], rows, None, False)], dict[str, str]()
    else:
        places, kept = _places(model, min_rows, trained)
    if isinstance(model, nn.Module) and tied != "keep":
        _ties(model, places, refuse=tied == "refuse")
    if flag("inplace", inplace) and (not isinstance(model, nn.Module) or places[0].names == [""]):
        raise ValueError("inplace=True needs a model around the table; a layer alone is returned")
    return places, kept


def budget_of(
    ratio: float | None, nbytes: int | str | None, places: list[Place], *, needed: bool = False
) -> float | None:
    """Return the bytes for all tables; None where sizes stand in the specs."""
    if ratio is not None and nbytes is not None:
        raise ValueError(f"give ratio or nbytes, not both: got {shown(ratio)} and {shown(nbytes)}")
    if nbytes is not None:
        return float(parse_nbytes(nbytes))
    if ratio is not None:
        return sum(place.nbytes for place in places) / real("ratio", ratio, 1e-3, 1e9)
    if needed:
        raise ValueError("give ratio or nbytes: the budget is what method='auto' decides by")
    return None


def plan_for(place: Place, spec: str, budget: float | None) -> Plan:
    """Return the plan of a layer in a place, within a budget in bytes if there is one."""
    name, options = parse_spec(spec)
    options["dtype"] = place.weight.dtype
    if budget is not None:
        if budget < 1:
            raise BudgetError(f"{budget:g} bytes hold no table", smallest=1)
        options["nbytes"] = math.floor(budget)
    return plan(name, *place.weight.shape, **options)


def fill(
    model: Any,
    places: list[Place],
    kept: Mapping[str, str],
    left: float | None,
    inplace: bool,
    make: Callable[[int, float | None], Made],
    *,
    frozen: bool,
) -> Compressed:
    """Put new layers into their places.

    Args:
        model: As for `find`.
        places: From `find`.
        kept: From `find`.
        left: The budget, from `budget_of`.
        inplace: Change the model itself.
        make: From a place's position and the bytes that it may take, to its layer and the report.
        frozen: The layers are as `CompressedEmbedding.freeze` leaves them.

    Returns:
        The model and the report.
    """
    unspent = sum(place.nbytes for place in places)
    found: dict[int, Made] = {}
    # From the smallest on, so that what one leaves is spent by those where it helps most.
    for at in sorted(range(len(places)), key=lambda at: places[at].nbytes):
        share = None if left is None else left * places[at].nbytes / unspent
        found[at] = make(at, share)
        unspent -= places[at].nbytes
        left = None if left is None else left - found[at][1].nbytes
    reports = tuple(
        replace(found[at][1], heads=tuple(place.heads)) for at, place in enumerate(places)
    )
    if not isinstance(model, nn.Module):
        return Compressed(found[0][0], reports, kept)
    memo: dict[int, Any] = {}
    new: dict[int, nn.Module] = {}
    for at, place in enumerate(places):
        layer = found[at][0]
        new |= {id(module): _as(module, layer) for module in place.modules}
        for head in place.heads.values():
            bias = head.bias if inplace else copy.deepcopy(head.bias, memo)  # may be shared, too
            new[id(head)] = SharedHead(layer, bias).train(head.training)
    if id(model) in new:
        return Compressed(new[id(model)], reports, kept)
    own = hugging_face.input_embeddings(model)
    if inplace:
        for module in list(model.modules()):
            for name, child in list(module._modules.items()):
                if id(child) in new:
                    module._modules[name] = new[id(child)]
    else:
        model = copy.deepcopy(model, memo | new)  # what stands in the memo is not copied
    if id(own) in new:
        model.set_input_embeddings(new[id(own)])
    layers = {
        name: (found[at][0], reports[at])
        for at, place in enumerate(places)
        for name, module in zip(place.names, place.modules, strict=True)
        if not isinstance(module, nn.EmbeddingBag)
    }
    hugging_face.forget_ties(model, layers)
    hugging_face.remember(model, layers, frozen)
    return Compressed(model, reports, kept)


def _places(model: nn.Module, min_rows: int, trained: bool) -> tuple[list[Place], dict[str, str]]:
    places: dict[int, Place] = {}
    kept: dict[str, str] = {}
    for name, module in _embeddings(model):
        _refuse_options(name, module)
        why = _why_kept(module)
        weight = None if why else module.weight
        if weight is not None and module is not model and len(weight) < min_rows:
            why = f"it has {len(weight):,} rows, fewer than min_rows={min_rows:,}"
        if why or weight is None:
            kept[name] = why
            continue
        pad = _padding(module, weight) if trained else module.padding_idx
        place = places.setdefault(id(weight), Place([], [], weight, pad, False))
        if place.padding_idx != pad:
            raise ValueError(f"{place.name} and {name} share a table, but not their padding_idx")
        place.names.append(name)
        place.modules.append(module)
        place.sparse |= bool(module.sparse)
    if not places:
        more = "".join(f"; {name or 'it'} is no such: {why}" for name, why in kept.items())
        raise ValueError(
            f"{type(model).__name__} has no nn.Embedding, nn.EmbeddingBag or full table to "
            f"{'compress' if trained else 'replace'}{more}"
        )
    return list(places.values()), kept


def _tensor(array: np.ndarray) -> Tensor:
    """A copy of an array, in the machine's order of bytes."""
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise ValueError(f"table must be floating point of 16, 32 or 64 bits, got {array.dtype}")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def _embeddings(model: nn.Module) -> list[tuple[str, Any]]:
    """Names and modules that look up a full table; not those inside a compressor."""
    found: list[tuple[str, Any]] = []
    inside: set[int] = set()
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, CompressedEmbedding):
            inside |= {id(m) for m in module.modules() if m is not module}
            wanted = type(module) is FullEmbedding
        else:
            wanted = isinstance(module, (nn.Embedding, nn.EmbeddingBag))
        if wanted and id(module) not in inside:
            found.append((name, module))
    own = hugging_face.input_embeddings(model)  # may be held outside of the model's modules
    if isinstance(own, nn.Embedding) and all(own is not module for _, module in found):
        found.append(("get_input_embeddings()", own))
    return found


def _refuse_options(name: str, module: Any) -> None:
    """Refuse what no compressor does as `nn.Embedding` does it."""
    for option, off in (("max_norm", None), ("scale_grad_by_freq", False)):
        value = getattr(module, option, off)
        if value != off:
            raise ValueError(
                f"{name or 'the embedding'} has {option}={value}, which compressors do not have; "
                f"set it to {off} first"
            )


def _why_kept(module: Any) -> str:
    for kind in (nn.Embedding, nn.EmbeddingBag):
        if isinstance(module, kind) and type(module).forward is not kind.forward:
            return f"{type(module).__name__} has a forward of its own"
    if "weight" not in module._parameters:
        return "its weight is parametrised or packed"
    if module._forward_hooks or module._forward_pre_hooks:
        return "it has hooks"
    return ""


def _padding(module: Any, weight: Tensor) -> int | None:
    """The padding id of the new layer, which gives zeros."""
    pad: int | None = module.padding_idx
    if pad is None or not isinstance(module, nn.Embedding) or weight.is_meta:
        return pad
    return None if bool(weight.detach()[pad].any()) else pad


def _ties(model: nn.Module, places: list[Place], *, refuse: bool) -> None:
    """Note the output projections that are a table of a place; refuse all others, or all."""
    for name, module in model.named_modules(remove_duplicate=False):
        for own, parameter in module._parameters.items():
            place = (
                None if parameter is None else next((p for p in places if p.also(parameter)), None)
            )
            if place is None or any(module is m for m in place.modules):
                continue
            tie = f"{place.parameter} is tied to {f'{name}.{own}'.lstrip('.')}"
            if refuse:
                raise ValueError(
                    f"{tie}, which would keep the full table; tied='share' lets it read the "
                    "embedding instead, tied='keep' leaves it as it is and changes the embedding "
                    "alone"
                )
            linear = isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
            if not linear or parameter is not place.weight or own != "weight":
                raise ValueError(
                    f"{tie}, and {type(module).__name__} is no nn.Linear that could read the "
                    "embedding instead: tied='keep' leaves it as it is"
                )
            place.heads[name] = module


def _as(module: nn.Module, layer: CompressedEmbedding) -> nn.Module:
    """The layer in the shape of the module that it replaces."""
    new: nn.Module = layer
    if isinstance(module, nn.EmbeddingBag):
        new = EmbeddingBag(layer, module.mode, include_last_offset=module.include_last_offset)
    if not module.weight.requires_grad:
        new.requires_grad_(False)
    return new.train(module.training)
