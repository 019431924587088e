"""Compress tables that are trained already: one tensor, one layer, or every table of a model.

    done = memcom.compress(model, ratio=8)
    print(done)                     # what each table has become, its bytes and its error
    scores = done.model(ids)        # `model` itself is as before

A table is fitted, not trained: see `CompressedEmbedding.fit_table`. With ``method="auto"`` several
methods are tried within the budget, and the one of the smallest error stays. Training afterwards is
ordinary training; rounded tables alone do not move any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from memcom._annotations import checked
from memcom._check import shown, whole
from memcom.budget import BudgetError, Plan
from memcom.compression.places import Made, Place, budget_of, fill, find, plan_for
from memcom.compression.report import Compressed, CompressedTable
from memcom.embeddings import (
    REGISTRY,
    CompressedEmbedding,
    LearnedHashEmbedding,
    parse_spec,
)
from memcom.embeddings._contract import check_table, check_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

AUTO = (
    *("int8", "int4(clip=greedy)", "pq", "rq", "low-rank"),
    *("low-rank(bits=8)", "low-rank(bits=4)", "memcom(bits=8)", "gain-shape"),
    *("gain-shape(bits=8,weight_bits=8)", "qr(bits=8)", "hash(bits=8)", "lhf(bits=8)"),
    *("lhf(bits=4)", "truncate(bits=8)"),
)
"""The methods that ``"auto"`` tries: each is fitted without training."""

LONGEST = 5e11
"""Most products that ``"auto"`` spends on clustering for one method: a quarter of a minute."""


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

    >>> import torch
    >>> import memcom
    >>> table = torch.outer(torch.arange(1.0, 2001.0), torch.ones(16))
    >>> print(memcom.compress(table, ratio=8, method="low-rank"))
    table    method      ids    width    bytes before    bytes    ratio    error    weighted
    table    low-rank  2,000       16         128,000    8,064    15.87    0.00%       0.00%

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
            ``"refuse"``: raise an error that names both. ``"share"``: the projection becomes a
            `SharedHead`, which reads the layer. ``"keep"``: leave the other parameter as it is; it
            takes its bytes as before.
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
    specs = _specs(method)
    places, kept = find(model, min_rows, tied=tied, inplace=inplace, trained=True)
    for place in places:
        _check(place)
    left = budget_of(ratio, nbytes, places, needed=method == "auto")
    weights = _weights(frequencies, places)

    def made(at: int, share: float | None) -> Made:
        return _compressed(places[at], share, specs, method == "auto", weights[at], seed)

    return fill(model, places, kept, left, inplace, made, frozen=True)


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


def _check(place: Place) -> None:
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


def _weights(frequencies: Any, places: list[Place]) -> list[Tensor]:
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
    place: Place,
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
    best: tuple[tuple[float, int], str, CompressedEmbedding, Plan, float] | None = None
    short: list[tuple[int, str]] = []
    for spec in specs:
        try:
            layer, planned = _fitted(place, spec, budget, auto, weights, seed)
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
            best = (weighted, layer.nbytes), spec, layer, planned, plain
    if best is None:
        least, spec = min(((n, s) for n, s in short if n), default=(0, ""))
        raise BudgetError(
            f"no method can store {place.name} ({rows} x {width}) in {budget or 0:,.0f} bytes"
            + (f"; the smallest that can is {spec}, with {least:,}" if spec else ""),
            smallest=least,
        )
    (weighted, nbytes), spec, layer, planned, plain = best
    sizes = place.name, spec, rows, width, place.nbytes, nbytes
    return layer, CompressedTable(*sizes, plain, weighted, tried, planned)


def _fitted(
    place: Place, spec: str, budget: float | None, auto: bool, weights: Tensor, seed: int
) -> tuple[CompressedEmbedding, Plan]:
    """The layer of one method, fitted and frozen, and its plan."""
    planned = plan_for(place, spec, budget)
    if auto:
        _refuse_long(planned.build(device="meta"))
    common = {"padding_idx": place.padding_idx, "sparse": place.sparse}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = planned.build(**common, device=place.table.device, dtype=place.table.dtype)
    layer.fit_table(place.table, weights, seed=seed)
    return layer.freeze(), planned


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
