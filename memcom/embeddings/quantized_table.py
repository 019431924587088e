"""A table of few bits per number, row by row.

Row-wise uniform quantisation as used for embedding tables by Guan et al., "Post-Training 4-bit
Quantization on Embedding Tables", 2019, https://arxiv.org/abs/1911.02079:

    x ~ offset + scale * q        q in {0, ..., 2^b - 1};  scale, offset: two fp16 numbers per row

Here the offset is the minimum of the row's range rounded *down* to fp16, and the scale the least
fp16 number with which 2^b - 1 steps reach its maximum. With ``clip="minmax"`` the range is that of
the row. No value then lies outside the grid, so the error of every value is at most half a stored
step, the rounding of scale and offset included.

The paper's own contribution is a search for a narrower range, ``clip="greedy"``: in steps of 1/200
of the row's range, the end whose move leaves the smaller squared error moves inward, until 84 % of
the range is left (both as in the authors' code in Caffe2). The range with the least error of all
stays, the row's own among them, and values outside it get its ends. So a row's squared error is
never larger. A million rows of 64 numbers take 7 s on one thread, where their own ranges take 0.2.

The default is ``"minmax"``. The committed rows ``int8`` and ``int4`` are made by it, and on trained
tables of movielens, seeds 0 to 2, the search takes a sixth off the mean squared error at 4 bits and
1 % at 8, but moves nDCG@10 by less than 0.0005, up or down.

With fewer bits the range matters more. The mean squared error of 100,000 rows of 64 numbers from
N(0, 1) is

    bits    minmax    greedy    greedy, as far as half of the range
    2       0.2027    0.1323    0.1035
    3       0.0370    0.0274    0.0272
    4       0.0080    0.0067    0.0067

so at 2 bits the search ends too early for such rows, and a wider one would gain another fifth.

Where rows are narrow, or a table is one long array of single numbers, blocks of 64 consecutive
numbers take the place of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor

from memcom.addresses import lacks_values
from memcom.embeddings._arguments import check_tensor, choice, shown
from memcom.embeddings._integers import KeepsIntegers
from memcom.kernels.bits import pack_rows, unpack, unpack_rows
from memcom.kernels.recipe import PackedRows

BITS = (2, 3, 4, 8, 16)


def listed(bits: tuple[int, ...] = BITS) -> str:
    """Return the possible numbers of bits as words."""
    return f"one of {', '.join(map(str, bits[:-1]))} and {bits[-1]}"


def check_bits(name: str, value: int) -> int:
    """Return a number of bits, or raise an error with the possible ones."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value not in BITS:
        raise ValueError(f"{name} must be {listed()}, got {shown(value)}")
    return int(value)


CLIPS = ("minmax", "greedy")
"""Ranges of a row: its own, or one that is searched for."""
CLIP_STEPS, CLIP_STEP = 32, 1 / 200
"""Moves of the greedy search, and the share of a row's range that one takes off: 84 % are left."""
CHUNK = 2**16
"""Rows quantised at a time."""
BLOCK = 64
"""Numbers that share a scale and an offset where a row is too narrow to have its own."""
NARROW = 8
"""Rows of fewer numbers are quantised in blocks: in few bits, most of a row would be its scale and
offset."""


class QuantizedTable(KeepsIntegers):
    """A table that is stored packed and unpacks the rows it is called with.

    Args:
        table: ``(num_rows, width)``, floating point, finite; rows come out in its dtype.
        bits: 2, 3, 4, 8, or 16 for plain fp16.
        clip: ``"minmax"`` or ``"greedy"``; see the head of this module. With 16 bits it changes
            nothing.

    Raises:
        ValueError: ``bits`` or ``clip`` has another value, or a row does not fit into fp16 or is
            not finite.

    State: ``codes`` (num_rows, ceil(width bits / 8)) uint8; ``scale`` and ``offset`` (num_rows, 1)
    fp16. The number of column k is in the bits ``[bits k, bits k + bits)`` of its row, least
    significant first: four in a byte at 2 bits, eight in three bytes at 3, two in a byte at 4; what
    is left of a row's last byte is 0. With 16 bits ``codes`` is (num_rows, width) fp16 and all
    there is. All are buffers: nothing here is trained.
    """

    codes: Tensor
    scale: Tensor
    offset: Tensor
    unit = "row"

    def __init__(self, table: Tensor, bits: int = 8, *, clip: str = "minmax") -> None:
        super().__init__()
        check_tensor("table", table)
        if table.ndim != 2 or not table.numel() or not table.is_floating_point():
            shape = tuple(table.shape)
            raise ValueError(f"table must be floating point rows, got {table.dtype} {shape}")
        bits, clip = check_bits("bits", bits), choice("clip", clip, CLIPS)
        self.num_rows, self.width = table.shape
        self.bits, self.dtype = bits, table.dtype
        pieces = self._pieces(table.detach(), clip)
        for name in pieces[0]:
            self.register_buffer(name, torch.cat([piece[name] for piece in pieces]))
        if not lacks_values(table):
            stored = [b for b in self.buffers() if b.dtype == torch.float16]
            _refuse_infinite(self.unit, self.group, table, *stored)

    def _pieces(self, table: Tensor, clip: str) -> list[dict[str, Tensor]]:
        """Quantise rows, a chunk at a time; return what is stored, by name."""
        chunk = CHUNK
        if lacks_values(table):
            chunk, clip = len(table), "minmax"
        return [_quantize_rows(rows, self.bits, clip) for rows in table.split(chunk)]

    @property
    def group(self) -> int:
        """Numbers that share a scale and an offset."""
        return self.width if self.unit == "row" else BLOCK

    @property
    def packed_rows(self) -> PackedRows:
        """The stored numbers, for compiled kernels."""
        scale, offset = (self.scale, self.offset) if self.bits < 16 else (None, None)
        shape = self.num_rows, self.width
        return PackedRows(self.codes, scale, offset, self.bits, self.group, shape, self.dtype)

    def forward(self, rows: Tensor) -> Tensor:
        """Unpack ``rows``, an int64 tensor of any shape: ``(*rows.shape, width)``."""
        self.require_integers()
        codes = self.codes[rows]
        if self.bits == 16:
            return codes.to(self.dtype)
        codes = unpack_rows(codes, self.width, self.bits)
        # In fp32: fp16 could not hold offset + scale * q.
        return (self.offset[rows].float() + self.scale[rows].float() * codes).to(self.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantizedTable:
        """Follow ``.to(dtype)`` in the rows that come out; the stored bits stay."""
        stored = dict(self.named_buffers())
        self.dtype = fn(torch.empty(0, dtype=self.dtype, device=self.codes.device)).dtype
        super()._apply(fn, recurse)
        for name, before in stored.items():
            after = self.get_buffer(name)
            if after.dtype != before.dtype:
                setattr(self, name, before.to(after.device))
        return self

    def extra_repr(self) -> str:
        """Return shape and bits."""
        return f"{self.num_rows}, {self.width}, bits={self.bits}"


class QuantizedBlocks(QuantizedTable):
    """A table of narrow rows, or of single numbers, stored in blocks of 64 numbers.

    Args:
        table: ``(num_rows, width)``, floating point, finite; rows come out in its dtype.
        bits: 2, 3, 4 or 8.
        clip: As for `QuantizedTable`, of blocks.

    Raises:
        ValueError: ``bits`` or ``clip`` has another value, or a block does not fit into fp16 or is
            not finite.

    State: ``codes`` (ceil(num_rows width bits / 8),) uint8, the numbers of all rows end to end,
    packed as those of one row of `QuantizedTable`; ``scale`` and ``offset``
    (ceil(num_rows width / 64), 1) fp16.
    """

    unit = "block"

    def __init__(self, table: Tensor, bits: int = 8, *, clip: str = "minmax") -> None:
        if check_bits("bits", bits) == 16:
            raise ValueError(f"bits must be {listed(BITS[:-1])}, got 16")
        super().__init__(table, bits, clip=clip)

    def _pieces(self, table: Tensor, clip: str) -> list[dict[str, Tensor]]:
        """Quantise whole blocks, then the numbers that are left."""
        numbers = table.flatten()
        end = len(numbers) // BLOCK * BLOCK
        pieces = []
        for part in (numbers[:end].view(-1, BLOCK), numbers[end:].view(1, -1)):
            if part.numel():
                pieces += super()._pieces(part, clip)
        return [piece | {"codes": piece["codes"].flatten()} for piece in pieces]

    def forward(self, rows: Tensor) -> Tensor:
        """Unpack ``rows``, an int64 tensor of any shape: ``(*rows.shape, width)``."""
        self.require_integers()
        number = rows.unsqueeze(-1) * self.width + torch.arange(self.width, device=rows.device)
        codes = unpack(self.codes, number, self.bits)
        block = number // BLOCK
        offset, scale = self.offset[block].squeeze(-1), self.scale[block].squeeze(-1)
        return (offset.float() + scale.float() * codes).to(self.dtype)


def pack_table(table: Tensor, bits: int, clip: str = "minmax") -> QuantizedTable:
    """Return a table in few bits: by rows, or in blocks if rows are narrower than `NARROW`."""
    narrow = table.shape[1] < NARROW and bits < 16
    return (QuantizedBlocks if narrow else QuantizedTable)(table, bits, clip=clip)


def _quantize_rows(rows: Tensor, bits: int, clip: str) -> dict[str, Tensor]:
    if bits == 16:
        return {"codes": rows.half()}
    rows = rows.float()
    low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    if clip == "greedy":
        low, high = _clipped(rows, low, high, bits)
    offset, scale = _grid(low, high, bits)
    codes = _nearest(rows, offset, scale, bits).to(torch.uint8)
    return {"codes": pack_rows(codes, bits), "scale": scale, "offset": offset}


def _clipped(rows: Tensor, low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return the ends, (num_rows, 1) each, of the ranges that the greedy search finds."""
    step = (high - low) * CLIP_STEP
    best_low, best_high, least = low, high, _squared_error(rows, low, high, bits)
    for _ in range(CLIP_STEPS):
        raised = _squared_error(rows, low + step, high, bits)
        lowered = _squared_error(rows, low, high - step, bits)
        from_below = raised < lowered
        low = torch.where(from_below, low + step, low)
        high = torch.where(from_below, high, high - step)
        error = torch.where(from_below, raised, lowered)
        better = error < least
        best_low = torch.where(better, low, best_low)
        best_high = torch.where(better, high, best_high)
        least = torch.where(better, error, least)
    return best_low, best_high


def _squared_error(rows: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """Return the squared error of each row, (num_rows, 1), as it would be stored."""
    offset, scale = _grid(low, high, bits)
    codes = _nearest(rows, offset, scale, bits)
    return codes.mul_(scale.float()).add_(offset.float()).sub_(rows).square_().sum(1, keepdim=True)


def _grid(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return offset and scale in fp16: the finest grid from ``low`` or below to ``high``."""
    offset = _round_half(low, up=False)
    return offset, _round_half((high - offset.float()) / (2**bits - 1), up=True)


def _nearest(rows: Tensor, offset: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Return the codes of the grid's nearest numbers, in fp32."""
    step = torch.where(scale > 0, scale.float(), 1)  # a constant row has no steps
    return (rows - offset.float()).div_(step).round_().clamp_(0, 2**bits - 1)


def _round_half(values: Tensor, *, up: bool) -> Tensor:
    """The nearest fp16 number that is not below (``up``) or not above ``values``."""
    half = values.half()
    bits = half.view(torch.int16)  # magnitudes ascend with the low 15 bits
    wrong = half.float() < values if up else half.float() > values
    away = (bits >= 0) if up else (bits < 0)  # away from zero, to get there
    return torch.where(wrong, bits + torch.where(away, 1, -1).to(bits.dtype), bits).view(half.dtype)


def _refuse_infinite(unit: str, group: int, table: Tensor, *stored: Tensor) -> None:
    for numbers in stored:
        bad = (~numbers.isfinite()).any(dim=1).nonzero().flatten()
        if len(bad):
            first = int(bad[0])
            own = table.detach().flatten()[first * group : (first + 1) * group]
            raise ValueError(
                f"{unit} {first} cannot be quantised: it has values from {own.min():g} to "
                f"{own.max():g}, and what is stored in fp16 must be finite and in [-65504, 65504]"
            )
