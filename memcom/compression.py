"""Compress tables that are trained already: one tensor, one layer, or every table of a model.

    done = memcom.compress(model, ratio=8)
    print(done)                     # what each table has become, its bytes and its error
    scores = done.model(ids)        # `model` itself is as before

A table is fitted, not trained: see `CompressedEmbedding.fit_table`. With ``method="auto"`` several
methods are tried within the budget, and the one of the smallest error stays. Training afterwards is
ordinary training; rounded tables alone do not move any more.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from memcom._annotations import checked
from memcom._check import choice, flag, real, shown, whole
from memcom._text import parse_nbytes, table
from memcom.budget import BudgetError, plan
from memcom.embeddings import (
    REGISTRY,
    CompressedEmbedding,
    EmbeddingBag,
    FullEmbedding,
    LearnedHashEmbedding,
    parse_spec,
)
from memcom.embeddings._contract import check_table, check_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["AUTO", "Compressed", "CompressedTable", "compress"]

AUTO = (
    *("int8", "int4(clip=greedy)", "pq", "rq", "low-rank"),
    *("low-rank(bits=8)", "low-rank(bits=4)", "memcom(bits=8)", "gain-shape"),
    *("gain-shape(bits=8,weight_bits=8)", "qr(bits=8)", "hash(bits=8)", "lhf(bits=8)"),
    *("lhf(bits=4)", "truncate(bits=8)"),
)
"""The methods that ``"auto"`` tries: each is fitted without training."""

LONGEST = 5e11
"""Most products that ``"auto"`` spends on clustering for one method: a quarter of a minute."""


@dataclass(frozen=True)
class CompressedTable:
    """One table and what has become of it.

    Attributes:
        name: The module's name in the model; ``"table"`` for a table or layer alone.
        method: The method, with its options.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        nbytes_before: Bytes of the trained table.
        nbytes: Bytes of the layer.
        error: Squared error over all ids, as a share of the table's own squares.
        weighted_error: The same with each id weighted by its frequency.
        tried: Each method that was tried: its weighted error, or the reason why it has none.
    """

    name: str
    method: str
    num_embeddings: int
    embedding_dim: int
    nbytes_before: int
    nbytes: int
    error: float
    weighted_error: float
    tried: Mapping[str, float | str] = field(default_factory=dict, repr=False)

    @property
    def compression_ratio(self) -> float:
        """Bytes before over bytes now."""
        return self.nbytes_before / self.nbytes


@dataclass(frozen=True)
class Compressed:
    """A compressed layer or model, and the report.

    Attributes:
        model: The layer, or the model with its new layers.
        tables: One entry for each table that was replaced.
        kept: Embeddings that were left as they are, by name, and why.
    """

    model: nn.Module
    tables: tuple[CompressedTable, ...]
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def layer(self) -> CompressedEmbedding:
        """The layer, where one table alone was compressed."""
        layer = self.model.embedding if isinstance(self.model, EmbeddingBag) else self.model
        if not isinstance(layer, CompressedEmbedding):
            raise ValueError("a model was compressed, not one layer; it is in .model")
        return layer

    @property
    def nbytes_before(self) -> int:
        """Bytes of all replaced tables."""
        return sum(t.nbytes_before for t in self.tables)

    @property
    def nbytes(self) -> int:
        """Bytes of all new layers."""
        return sum(t.nbytes for t in self.tables)

    @property
    def compression_ratio(self) -> float:
        """Bytes before over bytes now, of the replaced tables."""
        return self.nbytes_before / self.nbytes

    def __str__(self) -> str:
        rows = [
            {
                "table": t.name,
                "method": t.method,
                "ids": f"{t.num_embeddings:,}",
                "width": f"{t.embedding_dim:,}",
                "bytes before": f"{t.nbytes_before:,}",
                "bytes": f"{t.nbytes:,}",
                "ratio": f"{t.compression_ratio:.2f}",
                "error": f"{t.error:.2%}",
                "weighted": f"{t.weighted_error:.2%}",
            }
            for t in self.tables
        ]
        text = {"table", "method"}
        lines = [table(rows, style="plain", right=[name for name in rows[0] if name not in text])]
        lines += [f"{name} is left as it is: {why}" for name, why in self.kept.items()]
        return "\n".join(lines)


@checked
def compress(
    model: Tensor | nn.Module | np.ndarray,
    *,
    ratio: float | None = None,
    nbytes: int | str | None = None,
    method: str | Sequence[str] = "auto",
    frequencies: ArrayLike | Mapping[str, ArrayLike] | None = None,
    min_rows: int = 1000,
    tied: str = "refuse",
    inplace: bool = False,
    seed: int = 0,
) -> Compressed:
    """Compress a trained table, layer or model.

    In a model every `torch.nn.Embedding`, `torch.nn.EmbeddingBag` and full table of memcom with
    enough rows becomes a layer that takes the same ids, with the device, the type, the mode and the
    ``padding_idx`` of the old one. A padding row that is not zero, which `torch.nn.Embedding`
    returns as it is, becomes an ordinary vector. Embeddings of a subclass with a ``forward`` of its
    own, or with hooks, are left as they are, and the report says so.

    Args:
        model: A table ``(num_embeddings, embedding_dim)``, as a tensor or an array; an embedding;
            or a model around some.
        ratio: Budget: the bytes of the tables that are replaced, divided by this.
        nbytes: Budget in bytes for all of them together, or as text such as ``"1.5 MB"``. Each
            table may spend its share; what a small one leaves goes to the larger ones.
        method: ``"auto"``, which tries `AUTO`; a method, with options, such as ``"low-rank"`` or
            ``"memcom(bits=8)"``; or a list of them, of which the one of least weighted error stays.
        frequencies: ``(num_embeddings,)``, how often each id is looked up: its error counts as
            often. For several tables a mapping from their names. All alike if None.
        min_rows: Smaller tables of a model are left as they are.
        tied: A table may also be another parameter of the model, as an output projection often is.
            ``"refuse"``: raise an error that names both. ``"keep"``: compress the embedding, and
            leave the other parameter as it is; it takes its bytes as before.
        inplace: Put the new layers into the model itself instead of a copy. The copy has no copy of
            the old tables.
        seed: Seed of random choices.

    Returns:
        The layer or model, as it is shipped (see `CompressedEmbedding.freeze`), and the report.

    Raises:
        BudgetError: No method can be that small; the message names the smallest that can.
        FitError: The method has to be trained.
        ValueError: A table is constant or has values that are not finite, or is no floating point
            matrix with values; frequencies do not fit; there is no table to compress, or one with
            ``max_norm`` or ``scale_grad_by_freq``; both budgets are given, or none.
        TypeError: An argument is of another type.
    """
    whole("min_rows", min_rows, 1)
    whole("seed", seed, 0, 2**63 - 1)
    choice("tied", tied, ("refuse", "keep"))
    specs = _specs(method)
    places, kept = _places(model, min_rows)
    for place in places:
        _check(place)
    if tied == "refuse":
        _refuse_tied(model, places)
    if flag("inplace", inplace) and (not isinstance(model, nn.Module) or places[0].names == [""]):
        raise ValueError("inplace=True needs a model around the table; a layer alone is returned")
    weights = _weights(frequencies, places)
    total = sum(place.nbytes for place in places)
    left = _budget(ratio, nbytes, total, needed=method == "auto")
    unspent = total
    found: dict[int, tuple[CompressedEmbedding, CompressedTable]] = {}
    # From the smallest on, so that what one leaves is spent by those where it helps most.
    for at in sorted(range(len(places)), key=lambda at: places[at].nbytes):
        share = None if left is None else left * places[at].nbytes / unspent
        found[at] = _compressed(places[at], share, specs, method == "auto", weights[at], seed)
        unspent -= places[at].nbytes
        left = None if left is None else left - found[at][1].nbytes
    reports = tuple(found[at][1] for at in range(len(places)))
    new = {
        id(module): _as(module, found[at][0])
        for at, place in enumerate(places)
        for module in place.modules
    }
    if not isinstance(model, nn.Module):
        return Compressed(found[0][0], reports, kept)
    if id(model) in new:
        return Compressed(new[id(model)], reports, kept)
    return Compressed(_replaced(model, new, inplace), reports, kept)


@dataclass
class _Place:
    """A table, and the modules of a model that look it up."""

    names: list[str]
    modules: list[nn.Module]
    table: Tensor
    padding_idx: int | None
    sparse: bool

    @property
    def name(self) -> str:
        return self.names[0] or "table"

    @property
    def parameter(self) -> str:
        """The table's name among the parameters of the model."""
        if not self.modules:
            return "table"
        return f"{self.names[0]}.weight".lstrip(".")

    @property
    def nbytes(self) -> int:
        return self.table.numel() * self.table.element_size()


def _specs(method: str | Sequence[str]) -> list[str]:
    if isinstance(method, str):
        if method == "auto":
            return [spec for spec in AUTO if spec.partition("(")[0] in REGISTRY]
        method = [method]
    if not method:
        raise ValueError("method must name at least one method, got an empty list")
    for spec in method:
        parse_spec(spec)
    return list(dict.fromkeys(method))


def _budget(
    ratio: float | None, nbytes: int | str | None, total: int, *, needed: bool
) -> float | None:
    """Bytes for all tables; None where sizes stand in the specs."""
    if ratio is not None and nbytes is not None:
        raise ValueError(f"give ratio or nbytes, not both: got {shown(ratio)} and {shown(nbytes)}")
    if nbytes is not None:
        return float(parse_nbytes(nbytes))
    if ratio is not None:
        return total / real("ratio", ratio, 1e-3, 1e9)
    if needed:
        raise ValueError("give ratio or nbytes: the budget is what method='auto' decides by")
    return None


# --- tables of a model ----------------------------------------------------------------------------


def _places(model: Tensor | nn.Module | np.ndarray, min_rows: int) -> tuple[list[_Place], Any]:
    """The tables to replace, each once, and the embeddings that stay, with the reason."""
    if not isinstance(model, nn.Module):
        rows = _tensor(model) if isinstance(model, np.ndarray) else model.detach()
        return [_Place([""], [], rows, None, False)], {}
    places: dict[int, _Place] = {}
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
        pad = _padding(module, weight)
        place = places.setdefault(id(weight), _Place([], [], weight.detach(), pad, False))
        if place.padding_idx != pad:
            raise ValueError(f"{place.name} and {name} share a table, but not their padding_idx")
        place.names.append(name)
        place.modules.append(module)
        place.sparse |= bool(module.sparse)
    if not places:
        more = "".join(f"; {name or 'it'} is no such: {why}" for name, why in kept.items())
        raise ValueError(
            f"{type(model).__name__} has no nn.Embedding, nn.EmbeddingBag or full table to "
            f"compress{more}"
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
    own = _input_embeddings(model)  # may be held outside of the model's modules
    if isinstance(own, nn.Embedding) and all(own is not module for _, module in found):
        found.append(("get_input_embeddings()", own))
    return found


def _input_embeddings(model: nn.Module) -> Any:
    """The embeddings that a model of Hugging Face names as its own; None of any other model."""
    get = getattr(model, "get_input_embeddings", None)
    if not callable(get) or not callable(getattr(model, "set_input_embeddings", None)):
        return None
    try:
        return get()
    except NotImplementedError:
        return None


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


def _check(place: _Place) -> None:
    name = place.parameter
    check_table(name, place.table)
    if bool((place.table == place.table[0]).all()) and (
        len(place.table) > 1 or not bool(place.table.any())
    ):
        value = float(place.table[0, 0])
        same = (
            "every row is the same" if bool((place.table[0] != value).any()) else f"all {value:g}"
        )
        raise ValueError(f"{name} is constant ({same}), so it has not been trained")


def _refuse_tied(model: Any, places: list[_Place]) -> None:
    """Refuse a table whose memory is that of another parameter, too."""
    if not isinstance(model, nn.Module):
        return
    owners = {place.table.untyped_storage().data_ptr(): place for place in places}
    for name, module in model.named_modules(remove_duplicate=False):
        for own, parameter in module._parameters.items():
            if parameter is None or parameter.is_meta:
                continue
            place = owners.get(parameter.untyped_storage().data_ptr())
            if place is not None and all(module is not m for m in place.modules):
                other = f"{name}.{own}" if name else own
                raise ValueError(
                    f"{place.parameter} is tied to {other}, which would keep the full table; "
                    "tied='keep' leaves it as it is and compresses the embedding alone"
                )


def _weights(frequencies: Any, places: list[_Place]) -> list[Tensor]:
    """Weights of the ids of each table."""
    if frequencies is None:
        return [check_weights("frequencies", None, len(place.table)) for place in places]
    if not isinstance(frequencies, Mapping):
        if len(places) > 1:
            names = ", ".join(place.name for place in places)
            raise ValueError(f"frequencies must be a mapping for several tables: {names}")
        frequencies = {places[0].name: frequencies}
    unknown = [key for key in frequencies if all(key not in [p.name, *p.names] for p in places)]
    if unknown:
        names = ", ".join(place.name for place in places)
        raise ValueError(f"frequencies has {shown(unknown[0])}; the tables are {names}")
    found = []
    for place in places:
        given = next((frequencies[n] for n in [place.name, *place.names] if n in frequencies), None)
        own = None if given is None else torch.from_numpy(np.array(given, dtype=np.float64))
        found.append(check_weights(f"frequencies of {place.name}", own, len(place.table)))
    return found


# --- one table ------------------------------------------------------------------------------------


def _compressed(
    place: _Place,
    budget: float | None,
    specs: Sequence[str],
    auto: bool,
    weights: Tensor,
    seed: int,
) -> tuple[CompressedEmbedding, CompressedTable]:
    """The layer of least weighted error, and its report."""
    rows, width = place.table.shape
    weights = weights.to(place.table.device)
    tried: dict[str, float | str] = {}
    best: tuple[tuple[float, int], str, CompressedEmbedding, float] | None = None
    short: list[tuple[int, str]] = []
    for spec in specs:
        try:
            layer = _fitted(place, spec, budget, auto, weights, seed)
        except BudgetError as error:
            if len(specs) == 1:
                raise BudgetError(f"{place.name}: {error}", error.reason, error.smallest) from error
            short.append((error.smallest, spec))
            tried[spec] = error.reason
            continue
        except (ValueError, TypeError) as error:  # one number a row cannot be rounded, say
            if not auto:
                raise
            tried[spec] = str(error)
            continue
        plain, weighted = _errors(layer, place.table, weights)
        tried[spec] = weighted
        if best is None or (weighted, layer.nbytes) < best[0]:
            best = (weighted, layer.nbytes), spec, layer, plain
    if best is None:
        least, spec = min(((n, s) for n, s in short if n), default=(0, ""))
        raise BudgetError(
            f"no method can store {place.name} ({rows} x {width}) in {budget or 0:,.0f} bytes"
            + (f"; the smallest that can is {spec}, with {least:,}" if spec else ""),
            smallest=least,
        )
    (weighted, nbytes), spec, layer, plain = best
    name = place.name
    return layer, CompressedTable(
        name, spec, rows, width, place.nbytes, nbytes, plain, weighted, tried
    )


def _fitted(
    place: _Place, spec: str, budget: float | None, auto: bool, weights: Tensor, seed: int
) -> CompressedEmbedding:
    """The layer of one method, fitted and frozen."""
    name, options = parse_spec(spec)
    rows, width = place.table.shape
    options["dtype"] = place.table.dtype
    if budget is not None:
        if budget < 1:
            raise BudgetError(f"{budget:g} bytes hold no table", smallest=1)
        options["nbytes"] = math.floor(budget)
    planned = plan(name, rows, width, **options)
    if auto:
        _refuse_long(planned.build(device="meta"))
    common = {"padding_idx": place.padding_idx, "sparse": place.sparse}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = planned.build(**common, device=place.table.device, dtype=place.table.dtype)
    layer.fit_table(place.table, weights, seed=seed)
    return layer.freeze()


def _refuse_long(layer: CompressedEmbedding) -> None:
    for part in layer.modules():
        if isinstance(part, LearnedHashEmbedding):
            products = part.num_embeddings * part.num_buckets * part.embedding_dim * 20
            if products > LONGEST:
                raise ValueError(f"clustering would take {products:.0e} products")


@torch.no_grad()
def _errors(layer: CompressedEmbedding, table: Tensor, weights: Tensor) -> tuple[float, float]:
    """Squared error over squares, plain and weighted; padding does not count."""
    lost = torch.zeros(2, dtype=torch.float64, device=table.device)
    all_of_it = torch.zeros_like(lost)
    for ids in layer.all_ids(max(1, 2**22 // table.shape[1])):
        x = table[ids].double()
        w = torch.stack([torch.ones_like(weights[ids]), weights[ids]])
        if layer.padding_idx is not None:
            w[:, ids == layer.padding_idx] = 0
        lost += w @ (layer(ids).double() - x).square().sum(1)
        all_of_it += w @ x.square().sum(1)
    plain, weighted = (lost / torch.where(all_of_it > 0, all_of_it, 1)).tolist()
    return plain, weighted


# --- into the model -------------------------------------------------------------------------------


def _as(module: nn.Module, layer: CompressedEmbedding) -> nn.Module:
    """The layer in the shape of the module that it replaces."""
    new: nn.Module = layer
    if isinstance(module, nn.EmbeddingBag):
        new = EmbeddingBag(layer, module.mode, include_last_offset=module.include_last_offset)
    if not module.weight.requires_grad:
        new.requires_grad_(False)
    return new.train(module.training)


def _replaced(model: nn.Module, new: Mapping[int, nn.Module], inplace: bool) -> nn.Module:
    """The model with new modules; a copy of all else, unless it is changed in place."""
    own = _input_embeddings(model)
    if inplace:
        for module in list(model.modules()):
            for name, child in list(module._modules.items()):
                if id(child) in new:
                    module._modules[name] = new[id(child)]
    else:
        model = copy.deepcopy(model, dict(new))  # what stands in the memo is not copied
    if id(own) in new:
        model.set_input_embeddings(new[id(own)])  # type: ignore[operator]
    return model
