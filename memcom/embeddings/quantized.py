"""Rows of few bits: post-training quantisation of any trained table or compressor.

    x ~ offset + scale * q        q in {0, ..., 2^b - 1};  scale, offset: two fp16 numbers per row

A row takes ceil(b e / 8) + 4 bytes, so the ratio is below 32 / b: for 64 coordinates 3.76 at 8
bits, 7.11 at 4, 9.14 at 3 and 12.8 at 2. Rows of fewer than 8 numbers, and arrays of single ones,
share scale and offset in blocks of 64 numbers, for the same ratios. Weights per id, such as
MEmCom's multipliers, keep their precision by default: in 8 bits many ids of a bucket would get an
equal one.

The rounding is that of `memcom.embeddings.quantized_table`; see Guan et al., "Post-Training 4-bit
Quantization on Embedding Tables", 2019, https://arxiv.org/abs/1911.02079.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Digit
from memcom.embeddings._arguments import Sizes, choice
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, CompressedEmbedding, TableEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings.full import FullEmbedding
from memcom.embeddings.quantized_table import CLIPS, QuantizedTable, check_bits, pack_table
from memcom.embeddings.registry import register
from memcom.kernels import Read, Recipe

__all__ = ["Int4Embedding", "Int8Embedding", "QuantizeLater", "QuantizedEmbedding", "quantize"]


class QuantizedEmbedding(TableEmbedding):
    """Packed rows for inference, made by `from_table`. Nothing in it is trained."""

    table: QuantizedTable

    @classmethod
    def from_table(
        cls,
        table: Tensor,
        bits: int = 8,
        *,
        clip: str = "minmax",
        padding_idx: int | None = None,
    ) -> QuantizedEmbedding:
        """Quantise a full table.

        Args:
            table: ``(num_embeddings, embedding_dim)``, floating point.
            bits: 2, 3, 4, 8 or 16.
            clip: ``"minmax"`` or ``"greedy"``; see `quantize`.
            padding_idx: This id gives zeros; may be negative.

        Returns:
            The layer; its vectors have the dtype of ``table``.

        Raises:
            ValueError: As `QuantizedTable`.
        """
        packed = QuantizedTable(table, bits, clip=clip)
        layer = cls(packed.num_rows, packed.width, padding_idx=padding_idx)
        layer.table = packed
        return layer

    def recipe(self) -> Recipe:
        """Read one packed row, by the id itself."""
        return Recipe((Read("table", cast(Tensor, self.table), Digit(self.num_embeddings)),))

    def distinctness(self) -> Statement:
        """Return the statement for packed rows."""
        return Statement("lossy", "two ids are equal if their rows round to the same numbers")


def quantize(
    emb: CompressedEmbedding,
    bits: int = 8,
    *,
    weight_bits: int | None = None,
    clip: str = "minmax",
) -> CompressedEmbedding:
    """Return a copy of any trained layer whose tables are stored in few bits.

    ``memcom.quantize(memcom.build("memcom", n, e, ratio=16, head=1000))`` has 8-bit private and
    shared rows, and multipliers of full precision that can still be trained.

    Args:
        emb: The layer; it is frozen first.
        bits: Bits of the rows: 2, 3, 4, 8 or 16.
        weight_bits: Bits of weights per id, such as MEmCom's multipliers; None leaves them alone.
            In 8 bits ids lose their difference: use it to measure what that costs.
        clip: Range of the stored numbers: ``"minmax"``, that of the row, or ``"greedy"``, the one
            that a search finds to have the least squared error; see
            `memcom.embeddings.quantized_table`.

    Returns:
        A new layer of the same kind. Its `row_tables` have become modules of the class
        `QuantizedTable` and are not trained any more. Packed tables stay as they are.

    Raises:
        TypeError: Nothing would be smaller: the layer has no tables of rows, or they are packed.
        ValueError: As `QuantizedTable`.
    """
    if not isinstance(emb, CompressedEmbedding):
        raise TypeError(f"quantize takes a compressor of memcom, got {type(emb).__name__}")
    check_bits("bits", bits)
    choice("clip", clip, CLIPS)
    if weight_bits is not None:
        check_bits("weight_bits", weight_bits)
    layer = copy.deepcopy(emb.freeze())
    packed = 0
    for part in [m for m in layer.modules() if isinstance(m, CompressedEmbedding)]:
        plain = dict(part.named_parameters())
        rows = [name for name in part.row_tables() if name in plain]
        _pack_tables(part, rows, bits, clip)
        packed += len(rows)
        if weight_bits is not None and isinstance(part, TableEmbedding):
            recipe = part.recipe()
            reads = filter(None, (*recipe.reads, recipe.weights, recipe.shift))
            names = {r.name for r in reads if isinstance(r.table, nn.Parameter)}
            _pack_tables(part, sorted(names), weight_bits, clip)
    if not packed:
        done = {m.bits for m in layer.modules() if isinstance(m, QuantizedTable)}
        why = f"is stored in {min(done)} bits already" if done else "has no tables of rows"
        raise TypeError(f"{type(layer).__name__} {why}, so there is nothing to quantise")
    return layer


def _pack_tables(part: nn.Module, names: list[str], bits: int, clip: str) -> None:
    for name in names:
        owner, _, attribute = name.rpartition(".")
        table = pack_table(part.get_parameter(name), bits, clip)
        delattr(part.get_submodule(owner), attribute)
        setattr(part.get_submodule(owner), attribute, table)


def rounded(found: Statement) -> Statement:
    """Return what is left of a statement once rows are rounded."""
    if found.distinct in ("always", "generic", "if weights differ"):
        return Statement("lossy", f"{found.because}, until two rows round to the same numbers")
    return found


class QuantizeLater(CompressedEmbedding):
    """Any compressor, trained as it is and frozen to rows of few bits.

    ``memcom.build(name, n, e, ratio=16, bits=8)`` gives one whose frozen bytes meet the ratio.

    Args:
        embedding: The compressor that is trained.
        bits: Bits of the rows once frozen: 2, 3, 4, 8 or 16.
        weight_bits: Bits of weights per id; None leaves them as they are.
        clip: ``"minmax"`` or ``"greedy"``; see `quantize`.

    State: that of the compressor, as ``embedding.*``.
    """

    def __init__(
        self,
        embedding: CompressedEmbedding,
        bits: int,
        weight_bits: int | None = None,
        clip: str = "minmax",
    ) -> None:
        super().__init__(
            embedding.num_embeddings,
            embedding.embedding_dim,
            padding_idx=embedding.padding_idx,
            sparse=embedding.sparse,
        )
        self.embedding = embedding
        self.bits = check_bits("bits", bits)
        self.weight_bits = None if weight_bits is None else check_bits("weight_bits", weight_bits)
        self.clip = choice("clip", clip, CLIPS)

    def compose(self, ids: Tensor) -> Tensor:
        """Look up the compressor."""
        vectors: Tensor = self.embedding(ids)
        return vectors

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the compressor's addresses, prefixed by ``embedding.``."""
        return {f"embedding.{k}": v for k, v in self.embedding.addresses(ids).items()}

    def reset_parameters(self, std: float = 1.0) -> None:
        """Reset the compressor."""
        self.embedding.reset_parameters(std)

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Let the compressor learn."""
        self.embedding.learn(counts, pretrained, seed=seed)

    def fit_to(self, target: Target) -> None:
        """Fit the compressor, as if its tables were not rounded later."""
        self.embedding.fit_to(target)

    def resize_num_embeddings(self, num_embeddings: int) -> QuantizeLater:
        """Return the same over a larger compressor."""
        larger = self.embedding.resize_num_embeddings(num_embeddings)
        later = QuantizeLater(larger, self.bits, self.weight_bits, self.clip)
        return later.train(self.training)

    def freeze(self) -> CompressedEmbedding:
        """Return the compressor with its tables quantised."""
        return quantize(self.embedding, self.bits, weight_bits=self.weight_bits, clip=self.clip)

    def distinctness(self) -> Statement:
        """Return the compressor's statement, after rounding."""
        return rounded(self.embedding.distinctness())


NOTE = (
    "int8 and int4 round a row over its own range; their paper searches for a narrower one, as do "
    "int8(clip=greedy) and int4(clip=greedy)."
)


@register("int8")
class Int8Embedding(FullEmbedding):
    """A full table while it is trained; 8-bit rows once it is frozen.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        clip: Range of a stored row: ``"minmax"`` or ``"greedy"``; see `quantize`.
        **common: See `Common`.

    State: ``table`` (num_embeddings, embedding_dim), drawn from N(0, 1); `freeze` gives a
    `QuantizedEmbedding`. A compression ratio above 4 is out of reach.
    """

    card = Card(
        label="int8",
        formula="offset[i] + scale[i] q[i], q: 8 bits",
        distinct="lossy",
        because="two rows may round alike once frozen",
        use_when="First of all: almost four times smaller, and training stays as it is.",
        look=("rounding", 0),
        paper=Paper("Guan et al.", 2019, "https://arxiv.org/abs/1911.02079"),
        note=NOTE,
    )

    bits = 8

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        clip: str = "minmax",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.clip = choice("clip", clip, CLIPS)

    def freeze(self) -> CompressedEmbedding:
        """Return the table, its rows quantised."""
        return QuantizedEmbedding.from_table(
            self.table, self.bits, clip=self.clip, padding_idx=self.padding_idx
        )

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer one size."""
        floor = f"every number is stored in {cls.bits} bits, so ratio < {32 // cls.bits}"
        return Sizes(range(1), lambda _: {}, floor)


@register("int4")
class Int4Embedding(Int8Embedding):
    """A full table while it is trained; 4-bit rows once it is frozen."""

    card = Card(
        label="int4",
        formula="offset[i] + scale[i] q[i], q: 4 bits",
        distinct="lossy",
        because="two rows may round alike once frozen",
        use_when="If 8 bits are too many: up to eight times smaller, with coarser rows.",
        look=("rounding", 1),
        paper=Paper("Guan et al.", 2019, "https://arxiv.org/abs/1911.02079"),
        note=NOTE,
    )

    bits = 4
