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
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Digit, lacks_values
from memcom.embeddings._arguments import Sizes, choice, real
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, CompressedEmbedding, TableEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings._integers import MARK
from memcom.embeddings.full import FullEmbedding
from memcom.embeddings.quantized_table import (
    CLIPS,
    LEARNED,
    QuantizedTable,
    check_bits,
    first_steps,
    follow_steps,
    pack_table,
)
from memcom.embeddings.registry import register
from memcom.embeddings.schedules import Schedule
from memcom.kernels import Read, Recipe, all_rows

__all__ = [
    "Int4Embedding",
    "Int8Embedding",
    "QuantizeLater",
    "QuantizedEmbedding",
    "RoundingSchedule",
    "quantize",
]


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
    return _quantized(emb, bits, weight_bits, clip)


def _quantized(
    emb: CompressedEmbedding,
    bits: int,
    weight_bits: int | None,
    clip: str,
    steps: Mapping[int, Tensor] | None = None,
) -> CompressedEmbedding:
    """Return what `quantize` does; ``steps``: of the tables of `to_pack` by number."""
    layer = copy.deepcopy(emb.freeze())
    packed = 0
    for k, table in enumerate(to_pack(layer, bits, weight_bits)):
        owner, _, attribute = table.name.rpartition(".")
        module = table.part.get_submodule(owner)
        rows = pack_table(table.parameter, table.bits, clip, (steps or {}).get(k))
        delattr(module, attribute)
        setattr(module, attribute, rows)
        packed += table.is_rows
    if not packed:
        done = {m.bits for m in layer.modules() if isinstance(m, QuantizedTable)}
        why = f"is stored in {min(done)} bits already" if done else "has no tables of rows"
        raise TypeError(f"{type(layer).__name__} {why}, so there is nothing to quantise")
    return layer


class _ToPack(NamedTuple):
    """A table that is stored in few bits: its layer, its name there, and whether it has rows."""

    part: CompressedEmbedding
    name: str
    bits: int
    is_rows: bool

    @property
    def parameter(self) -> nn.Parameter:
        return self.part.get_parameter(self.name)


def to_pack(layer: nn.Module, bits: int, weight_bits: int | None) -> list[_ToPack]:
    """List the tables of rows in a layer, and with ``weight_bits`` the weights per id."""
    found = []
    for part in [m for m in layer.modules() if isinstance(m, CompressedEmbedding)]:
        plain = dict(part.named_parameters())
        rows = [name for name in part.row_tables() if name in plain]
        found += [_ToPack(part, name, bits, True) for name in rows]
        if weight_bits is not None and isinstance(part, TableEmbedding):
            recipe = part.recipe()
            reads = filter(None, (*recipe.reads, recipe.weights, recipe.shift))
            names = {r.name for r in reads if isinstance(r.table, nn.Parameter)} - set(rows)
            found += [_ToPack(part, name, weight_bits, False) for name in sorted(names)]
    return found


def rounded(found: Statement) -> Statement:
    """Return what is left of a statement once rows are rounded."""
    if found.distinct in ("always", "generic", "if weights differ"):
        return Statement("lossy", f"{found.because}, until two rows round to the same numbers")
    return found


class QuantizeLater(CompressedEmbedding):
    """Any compressor, trained as it is and frozen to rows of few bits.

    ``memcom.build(name, n, e, ratio=16, bits=8)`` gives one whose frozen bytes meet the ratio.

    With ``rounding`` its `schedule` trains the rounded tables in the last share of the steps, as
    Courbariaux, Bengio and David, "BinaryConnect", NeurIPS 2015, https://arxiv.org/abs/1511.00363:
    lookups read rounded rows, their gradient is taken for that of the unrounded ones (straight
    through), and these take up every step of the optimizer. `freeze` packs them, so that its
    vectors are those that training saw. With ``clip="learned"`` each row is rounded to a grid about
    0 whose step is learned, too, from what the optimizer does to the rounded numbers: learned step
    size quantisation (Esser et al. 2020), see `memcom.embeddings.quantized_table`.

    Args:
        embedding: The compressor that is trained.
        bits: Bits of the rows once frozen: 2, 3, 4, 8 or 16.
        weight_bits: Bits of weights per id; None leaves them as they are.
        clip: ``"minmax"`` or ``"greedy"``, see `quantize`; with ``rounding`` also ``"learned"``.
        rounding: Share of the training, from 0 to 1, in which tables are rounded after every step.

    Raises:
        ValueError: An option is out of its range, or ``rounding`` is asked for and the compressor
            stores other tables than it trains, such as rows that were pruned.

    State: that of the compressor, as ``embedding.*``. With ``rounding`` also ``is_rounded`` (1,)
    bool, and ``master_0``, ``master_1``, ...: the unrounded tables once they are rounded, in the
    order of `to_pack`, zeros before; with ``clip="learned"`` also ``step_0``, ..., (num_rows, 1)
    or one for each block of 64 numbers, of tables of fewer than 16 bits. In memory there is a copy
    of what was last rounded, too.
    """

    is_rounded: Tensor

    def __init__(
        self,
        embedding: CompressedEmbedding,
        bits: int,
        weight_bits: int | None = None,
        clip: str = "minmax",
        rounding: float = 0.0,
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
        self.clip = choice("clip", clip, (*CLIPS, LEARNED))
        self.rounding = real("rounding", rounding, 0, 1)
        if self.clip == LEARNED and not self.rounding:
            raise ValueError(
                f"clip must be {' or '.join(CLIPS)} without rounding, got {LEARNED}: the steps of "
                "rows are learned while they are rounded, as with rounding=0.25"
            )
        if self.rounding:
            self._prepare_rounding()

    def _prepare_rounding(self) -> None:
        """Add the state of rounding, or refuse a compressor that stores other tables."""
        shapes = copy.deepcopy(
            self.embedding,
            {
                id(t): nn.Parameter(m) if isinstance(t, nn.Parameter) else m
                for t in (*self.embedding.parameters(), *self.embedding.buffers())
                for m in [torch.empty_like(t, device="meta")]
            },
        )
        trained, stored = (
            [(table.bits, table.parameter.shape) for table in self._tables(layer)]
            for layer in (shapes, shapes.freeze())
        )
        if trained != stored:
            raise ValueError(
                f"rounding must be 0 for {type(self.embedding).__name__}, whose stored numbers are "
                "chosen while it trains, and with them those that share a scale, got "
                f"{self.rounding:g}; bits without rounding packs them once it is trained"
            )
        device = self.embedding.device
        self.register_buffer("is_rounded", torch.zeros(1, dtype=torch.bool, device=device))
        for k, table in enumerate(self._tables()):
            # From the start, so that a model keeps its buffers: averaged copies pair them by order.
            for name, persistent in ((f"master_{k}", True), (f"rounded_{k}", False)):
                self.register_buffer(name, torch.zeros_like(table.parameter.detach()), persistent)
            if self._learns_steps(table):
                steps = torch.zeros_like(first_steps(table.parameter, table.bits))
                self.register_buffer(f"step_{k}", steps)

    def _learns_steps(self, table: _ToPack) -> bool:
        return self.clip == LEARNED and table.bits < 16

    def _tables(self, layer: nn.Module | None = None) -> list[_ToPack]:
        return to_pack(self.embedding if layer is None else layer, self.bits, self.weight_bits)

    def compose(self, ids: Tensor) -> Tensor:
        """Look up the compressor."""
        vectors: Tensor = self.embedding(ids)
        return vectors

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the compressor's addresses, prefixed by ``embedding.``."""
        return {f"embedding.{k}": v for k, v in self.embedding.addresses(ids).items()}

    @torch.no_grad()
    def round_tables(self) -> None:
        """Let the unrounded tables take up what has changed since the last time, and round them.

        Call it after every step of an optimizer, as `RoundingSchedule` does.

        Raises:
            ValueError: The layer was made without ``rounding``, or a table cannot be rounded.
        """
        if not self.rounding:
            raise ValueError("a layer is rounded in training if it is made with rounding > 0")
        for k, table in enumerate(self._tables()):
            master, found = self.get_buffer(f"master_{k}"), self.get_buffer(f"rounded_{k}")
            numbers, steps = self._unrounded(k, table)
            master.copy_(numbers)
            if steps is not None:
                self.get_buffer(f"step_{k}").copy_(steps)
            found.copy_(self._round_trip(k, table.bits))
            table.parameter.copy_(found)
        self.is_rounded.fill_(True)

    def _unrounded(self, k: int, table: _ToPack) -> tuple[Tensor, Tensor | None]:
        """Return a table's unrounded numbers, and steps, with what has changed since last time."""
        numbers, learns = table.parameter.detach(), self._learns_steps(table)
        if not self.is_rounded:
            return numbers, first_steps(numbers, table.bits) if learns else None
        change = numbers - self.get_buffer(f"rounded_{k}")
        master = self.get_buffer(f"master_{k}")
        if not learns:
            return master + change, None
        return follow_steps(master, change, self.get_buffer(f"step_{k}"), table.bits)

    def _round_trip(self, k: int, bits: int) -> Tensor:
        """Return the table as it is read when it is rounded."""
        steps = self._buffers.get(f"step_{k}")
        return all_rows(pack_table(self.get_buffer(f"master_{k}"), bits, self.clip, steps))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *others: Any
    ) -> None:
        """Load the state; what was last rounded follows from it."""
        super()._load_from_state_dict(state_dict, prefix, *others)
        if self.rounding and not lacks_values(self.is_rounded) and self.is_rounded:
            for k, table in enumerate(self._tables()):
                found = self._round_trip(k, table.bits)
                self.register_buffer(f"rounded_{k}", found, persistent=False)

    def schedule(self, num_steps: int, **around: Any) -> RoundingSchedule | None:
        """Return a schedule that rounds in the last steps; None without ``rounding``."""
        if not self.rounding:
            return None
        before = num_steps - round(self.rounding * num_steps)
        return RoundingSchedule(self, prune_steps=max(1, before))

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Reset the compressor; its tables are not rounded."""
        self.embedding.reset_parameters(std)
        for buffer in self.buffers(recurse=False):
            if buffer is not self._buffers.get(MARK):
                buffer.zero_()

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Let the compressor learn."""
        self.embedding.learn(counts, pretrained, seed=seed)

    def fit_to(self, target: Target) -> None:
        """Fit the compressor, as if its tables were not rounded later."""
        self.embedding.fit_to(target)

    def resize_num_embeddings(self, num_embeddings: int) -> QuantizeLater:
        """Return the same over a larger compressor; what was rounded is what it trains from."""
        larger = self.embedding.resize_num_embeddings(num_embeddings)
        later = QuantizeLater(larger, self.bits, self.weight_bits, self.clip, self.rounding)
        return later.train(self.training)

    @torch.no_grad()
    def freeze(self) -> CompressedEmbedding:
        """Return the compressor with its tables quantised, or as training has rounded them."""
        embedding, steps = self.embedding, {}
        if self.rounding and not lacks_values(self.is_rounded) and self.is_rounded:
            embedding = copy.deepcopy(embedding)
            for k, table in enumerate(self._tables(embedding)):
                numbers, found = self._unrounded(k, table)
                table.parameter.copy_(numbers)
                if found is not None:
                    steps[k] = found
        return _quantized(embedding, self.bits, self.weight_bits, self.clip, steps)

    def distinctness(self) -> Statement:
        """Return the compressor's statement, after rounding."""
        return rounded(self.embedding.distinctness())


class RoundingSchedule(Schedule[QuantizeLater]):
    """Rounding of tables after every step from one step on.

    Args:
        emb: The layer.
        prune_steps: Steps until tables are rounded for the first time.
    """

    def __init__(self, emb: QuantizeLater, *, prune_steps: int) -> None:
        super().__init__(emb, prune_steps=prune_steps, every=1)

    def update(self, ids: Tensor) -> None:
        """Round, if it is time or a loaded state was rounded."""
        if self.steps >= self.prune_steps or self.within_budget:
            self.emb.round_tables()

    @property
    def within_budget(self) -> bool:
        """True while tables are rounded."""
        return bool(self.emb.is_rounded)


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
