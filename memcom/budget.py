"""Plans: the largest size of a compressor that fits a byte budget.

No method is known here. A candidate layer is built on the meta device, where tensors have shapes
but no memory, and its bytes are counted like those of a real layer; bisection over the method's
`sizes` finds the largest candidate that fits. So a plan counts every byte of the saved layer, index
tables and seeds included, and never exceeds the budget.

The bytes are those of the layer that is stored in the end, after `freeze`. Layers that train
something larger (product-quantised codes, rows to be rounded) freeze to it; others stay the same.

Five options go with every method: ``head=K`` gives the K most frequent ids a row each and leaves
the rest to the method; ``bits=8`` trains as usual and freezes to 8-bit rows; ``weight_bits=16``
beside it freezes the weights per id to fp16, ``clip="greedy"`` searches for the ranges of rows, and
``rounding=0.25`` trains rounded rows in the last quarter of the steps; with it ``clip="learned"``
learns the step of each row.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from memcom._check import choice, flag, real, shown, whole
from memcom._text import parse_nbytes as parse_nbytes
from memcom.addresses import MAX_NUM_EMBEDDINGS
from memcom.embeddings import CompressedEmbedding, HeadEmbedding, QuantizeLater, get
from memcom.embeddings._arguments import (
    COMMON,
    MAX_EMBEDDING_DIM,
    check_placement,
    check_types,
    refuse_unknown,
)
from memcom.embeddings.quantized_table import CLIPS, LEARNED, check_bits, listed

_WRAPPERS = ("head", "bits", "weight_bits", "clip", "rounding")
_RATIOS = (1e-3, 1e9)


class BudgetError(ValueError):
    """A compressor cannot be as small as the budget asks.

    Args:
        message: The method, the budget, how small it can be, and the reason.
        reason: The reason alone; the whole message by default.
        smallest: Bytes that the compressor needs at the least; 0 if not known.
    """

    def __init__(self, message: str, reason: str = "", smallest: int = 0) -> None:
        super().__init__(message)
        self.reason = reason or message
        self.smallest = smallest


@dataclass(frozen=True)
class Plan:
    """A compressor sized for a budget, not yet built.

    Attributes:
        name: Registry name.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        arguments: The constructor's keyword arguments, sizes and given options, and ``head``,
            ``bits``, ``weight_bits``, ``clip`` and ``rounding`` where given.
        nbytes: Bytes the layer will store, once frozen.
        budget: Bytes that were allowed; infinite where nothing was asked.
        note: Budget asked, and bytes left over.
    """

    name: str
    num_embeddings: int
    embedding_dim: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    nbytes: int = 0
    budget: float = math.inf
    note: str = ""

    @property
    def full_nbytes(self) -> int:
        """Bytes of the uncompressed fp32 table."""
        return 4 * self.num_embeddings * self.embedding_dim

    @property
    def compression_ratio(self) -> float:
        """Bytes of the uncompressed fp32 table over bytes stored."""
        return self.full_nbytes / self.nbytes

    def build(self, **common: Any) -> CompressedEmbedding:
        """Build the layer; ``common`` are the arguments that every compressor takes."""
        options = {**self.arguments, **common}
        return _construct(self.name, self.num_embeddings, self.embedding_dim, options)

    def __str__(self) -> str:
        options = "".join(f", {k}={_short(v)}" for k, v in self.arguments.items())
        return (
            f"{self.name}({self.num_embeddings}, {self.embedding_dim}{options}): "
            f"{self.nbytes:,} bytes, {self.compression_ratio:.2f}x"
            + (f"; {self.note}" if self.note else "")
        )


def plan(
    name: str,
    num_embeddings: int,
    embedding_dim: int,
    *,
    ratio: float | None = None,
    nbytes: int | str | None = None,
    **options: Any,
) -> Plan:
    """Find the largest layer of a compressor within a byte budget.

    >>> import memcom
    >>> print(memcom.plan("memcom", 100_000, 64, nbytes="1 MB"))
    memcom(100000, 64, num_buckets=2343): 999,808 bytes, 25.60x; 1,000,000 bytes asked, 192 bytes
    left over
    >>> memcom.plan("memcom", 100_000, 64, ratio=100)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    memcom.budget.BudgetError: memcom cannot store 100000 x 64 in 256,000 bytes (ratio 100): it
    needs 400,256 (ratio 63.96); every id stores its own weight, so ratio < 64

    Args:
        name: Registry name; see `memcom.available`.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        ratio: Budget as a compression ratio: the bytes of the full fp32 table, divided by this.
        nbytes: Budget in bytes, or as text such as ``"1.5 MB"`` or ``"64 KiB"``.
        **options: The method's own options that are not its size, such as ``operation="concat"``,
            the common ``dtype``, which changes the bytes, and ``head``, ``bits``,
            ``weight_bits``, ``clip`` and ``rounding``. A list of sizes may have None where the
            budget decides.

    Returns:
        The plan. With neither ``ratio`` nor ``nbytes`` the sizes must be among the options.

    Raises:
        BudgetError: If the method cannot be that small; the message gives its smallest size and
            the reason.
        ValueError: If both budgets are given, one that is not positive, a budget and a size that
            it decides, or an argument that is out of its range.
        TypeError: If an option is unknown or of another type, or neither size nor budget is given.
    """
    cls = get(name)
    num_embeddings = whole("num_embeddings", num_embeddings, 1, MAX_NUM_EMBEDDINGS)
    embedding_dim = whole("embedding_dim", embedding_dim, 1, MAX_EMBEDDING_DIM)
    if ratio is not None and nbytes is not None:
        raise ValueError(f"give ratio or nbytes, not both: got {shown(ratio)} and {shown(nbytes)}")
    options = _checked(name, cls, num_embeddings, options)
    full = 4 * num_embeddings * embedding_dim
    own = {k: v for k, v in options.items() if k not in COMMON}
    of_method = {k: v for k, v in own.items() if k not in _around(cls)}

    def stored(arguments: dict[str, Any]) -> int:
        sized = {**options, **arguments, "device": "meta"}
        return _construct(name, num_embeddings, embedding_dim, sized).frozen_nbytes

    if ratio is None and nbytes is None:
        _require_sizes(name, cls, of_method)
        return Plan(name, num_embeddings, embedding_dim, own, stored({}))
    if ratio is None:
        budget: float = parse_nbytes(nbytes)  # type: ignore[arg-type]
    else:
        budget = full / real("ratio", ratio, *_RATIOS)

    head = own.get("head", 0)
    bits = {k: own[k] for k in ("bits",) if own.get(k) is not None}
    sizes = cls.sizes(num_embeddings - head, embedding_dim, **bits | of_method)
    ends = sizes.arguments(sizes.scales[0]), sizes.arguments(sizes.scales[-1])
    for option, value in of_method.items():
        if any(option in end and not _leaves_open(value, end[option]) for end in ends):
            budget_name = "nbytes" if ratio is None else "ratio"
            raise ValueError(
                f"give {option} or {budget_name}, not both: {budget_name} decides {option}, got "
                f"{option}={shown(value)}"
            )
    arguments = sizes.largest(stored, budget)
    if arguments is None:
        smallest = stored(ends[0])
        reason = sizes.floor + (f", beside {head} private rows" if head else "")
        raise BudgetError(
            f"{name} cannot store {num_embeddings} x {embedding_dim} in {budget:,.0f} bytes "
            f"(ratio {full / budget:.4g}): it needs {smallest:,} (ratio {full / smallest:.4g}); "
            f"{reason}",
            reason,
            smallest,
        )
    stays = stored(arguments)
    asked = f"ratio {float(ratio):g}" if ratio is not None else f"{budget:,.0f} bytes"
    note = f"{asked} asked, {budget - stays:,.0f} bytes left over"
    return Plan(name, num_embeddings, embedding_dim, {**own, **arguments}, stays, budget, note)


def plan_tables(
    name: str,
    cardinalities: Mapping[str, int],
    embedding_dim: int,
    *,
    ratio: float,
    threshold: int = 200,
    **options: Any,
) -> dict[str, Plan]:
    """Plan the tables of a model with many categorical fields, by the threshold rule.

    Small tables stay full and large ones are compressed (Shi et al. 2020, section 5: with
    threshold 200 no size is lost). Here the large ones also make up for the small, so that all
    tables together meet the ratio.

    Args:
        name: Registry name of the compressor for the large tables.
        cardinalities: Number of ids of each field.
        embedding_dim: Width of the vectors.
        ratio: Bytes of all full tables over bytes of all planned ones, at least.
        threshold: Fields with at most this many ids keep a full table.
        **options: As for `plan`.

    Returns:
        A plan for each field, in the order given.

    Raises:
        BudgetError: If the small tables alone, or the method, need more than the budget.
        ValueError: If the ratio or a number of ids is out of its range.
        TypeError: If an argument is of another type.
    """
    embedding_dim = whole("embedding_dim", embedding_dim, 1, MAX_EMBEDDING_DIM)
    threshold, ratio = whole("threshold", threshold, 0), real("ratio", ratio, *_RATIOS)
    if not isinstance(cardinalities, Mapping):
        raise TypeError(f"cardinalities must be a mapping, got {shown(cardinalities)}")
    cardinalities = {
        key: whole(f"cardinalities[{shown(key)}]", n, 1, MAX_NUM_EMBEDDINGS)
        for key, n in cardinalities.items()
    }
    full = {key: 4 * n * embedding_dim for key, n in cardinalities.items()}
    small = {key for key, n in cardinalities.items() if n <= threshold}
    left = sum(full.values()) / ratio - sum(full[key] for key in small)
    large_bytes = sum(full[key] for key in full if key not in small)
    if left < 0 or (large_bytes and not left):
        raise BudgetError(
            f"the {len(small)} tables of at most {shown(threshold)} ids alone exceed ratio "
            f"{float(ratio):g}; "
            "lower the threshold"
        )
    plans = {}
    for key, n in cardinalities.items():
        if key in small:
            plans[key] = plan("full", n, embedding_dim)
        else:
            plans[key] = plan(name, n, embedding_dim, ratio=large_bytes / left, **options)
    return plans


def build(
    name: str,
    num_embeddings: int,
    embedding_dim: int,
    padding_idx: int | None = None,
    *,
    ratio: float | None = None,
    nbytes: int | str | None = None,
    **options: Any,
) -> CompressedEmbedding:
    """Build the largest layer of a method within a byte budget.

    >>> import torch
    >>> import memcom
    >>> layer = memcom.build("qr", 100_000, 64, ratio=16)
    >>> layer
    QREmbedding(100000, 64, nbytes=1600000, compression_ratio=16.00)
    >>> layer(torch.tensor([[0, 7], [99_999, 3]])).shape
    torch.Size([2, 2, 64])

    Args:
        name: Method; `memcom.available` lists them.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors that come out.
        padding_idx: This id gives zeros and gets no gradient; may be negative.
        ratio: Budget as a compression ratio: the bytes of the full fp32 table, divided by this.
        nbytes: Budget in bytes, or as text such as ``"1.5 MB"`` or ``"64 KiB"``. With neither
            budget the method's sizes have to be among the options.
        **options: The method's own, as in ``operation="concat"``; ``sparse=True`` for gradients of
            the rows that were read alone; ``device``, ``dtype``. And five that go with every
            method: ``head=1000`` gives the 1000 most frequent ids a row each; ``bits=8`` trains as
            usual and freezes to rows of 8 bits (2, 3, 4, 16); beside it ``weight_bits=16`` rounds
            the weights per id, ``clip="greedy"`` searches for the ranges of rows, and
            ``rounding=0.25`` trains rounded rows in the last quarter of the steps.

    Returns:
        The layer, drawn at random. Its bytes, once frozen, never exceed the budget.

    Raises:
        BudgetError: If the method cannot be that small; the message gives its smallest size and
            the reason.
        ValueError: If both budgets are given, one that is not positive, a budget and a size that
            it decides, or an argument that is out of its range.
        TypeError: If an option is unknown or of another type, or neither size nor budget is given.
    """
    if padding_idx is not None:
        options["padding_idx"] = padding_idx
    common = {k: v for k, v in options.items() if k in COMMON}
    planned = plan(name, num_embeddings, embedding_dim, ratio=ratio, nbytes=nbytes, **options)
    return planned.build(**common)


def _checked(
    name: str, cls: type[CompressedEmbedding], num_embeddings: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options, integers as Python's; those of the planner in their range, and none unknown."""
    known = {*inspect.signature(cls.__init__).parameters, *COMMON, *_WRAPPERS}
    known -= {"self", "common", "num_embeddings", "embedding_dim"}
    options = refuse_unknown(name, options, known)
    checked = check_types(cls, options)
    if "head" in checked:
        checked["head"] = whole("head", checked["head"], 0, num_embeddings - 1)
    if "clip" in checked:
        choice("clip", checked["clip"], (*CLIPS, LEARNED))
    if "rounding" in checked:
        checked["rounding"] = real("rounding", checked["rounding"], 0, 1)
    for option in ("bits", "weight_bits"):
        if checked.get(option) is not None:
            checked[option] = check_bits(option, checked[option])
    if checked.get("padding_idx") is not None:
        last = num_embeddings - 1
        checked["padding_idx"] = whole("padding_idx", checked["padding_idx"], -last - 1, last)
    flag("sparse", checked.get("sparse", False))
    check_placement(checked.get("device"), checked.get("dtype"))
    return checked


def _require_sizes(name: str, cls: type[CompressedEmbedding], options: Mapping[str, Any]) -> None:
    """Refuse a method whose sizes nobody gave."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    needed = [
        p.name
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in options
    ]
    if needed:
        raise TypeError(f"{name} needs a size: give ratio=, nbytes= or {', '.join(needed)}=")


def _leaves_open(given: Any, decided: Any) -> bool:
    """True if a size that was given is what a budget decided, but for numbers that are None."""
    if not isinstance(given, list) or not isinstance(decided, list) or len(given) != len(decided):
        return bool(given == decided)
    return all(one in (None, other) for one, other in zip(given, decided, strict=True))


def _around(cls: type[CompressedEmbedding]) -> tuple[str, ...]:
    """The options that go with every method, without those that this one takes itself."""
    own = inspect.signature(cls.__init__).parameters
    return tuple(option for option in _WRAPPERS if option not in own)


def _short(value: Any) -> str:
    """A value as Python writes it, a tensor by its shape."""
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)


def _construct(
    name: str, num_embeddings: int, embedding_dim: int, options: Mapping[str, Any]
) -> CompressedEmbedding:
    """A layer with its wrappers; padding is blanked out by the outermost."""
    around = _around(get(name))
    method = {k: v for k, v in options.items() if k not in (*around, "padding_idx")}
    head, bits = options.get("head", 0), options.get("bits")
    padding_idx = options.get("padding_idx")
    if head:
        tail = get(name)(num_embeddings - head, embedding_dim, **method)
        layer: CompressedEmbedding = HeadEmbedding(tail, head, padding_idx=padding_idx)
    else:
        layer = get(name)(num_embeddings, embedding_dim, padding_idx=padding_idx, **method)
    if bits is None:
        for option in ("weight_bits", "clip", "rounding"):
            if option in options and option in around:
                raise ValueError(f"{option}={options[option]} needs bits: {listed()}")
        return layer
    beside = {k: options[k] for k in ("weight_bits", "clip", "rounding") if k in options}
    return QuantizeLater(layer, bits, **beside)
