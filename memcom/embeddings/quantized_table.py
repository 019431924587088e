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

A row may also be stored on a grid of a given step about 0, x ~ s (q - 2^(b-1)), in the same format.
`follow_steps` learns such steps as Esser, McKinstry, Bablani, Appuswamy and Modha, "Learned Step
Size Quantization", ICLR 2020, https://arxiv.org/abs/1902.08153: with Q_n = 2^(b-1), Q_p = Q_n - 1
and x = s clamp(round(v / s), -Q_n, Q_p),

    dx / ds = round(v / s) - v / s    if -Q_n < v / s < Q_p, else -Q_n or Q_p
    dx / dv = 1                       if -Q_n < v / s < Q_p, else 0

and the gradient of s, the sum over the N numbers of a row, is scaled by 1 / sqrt(N Q_p).
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import torch
import torch.nn.functional as F
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
LEARNED = "learned"
"""In place of one of `CLIPS`: steps that are learned in training; see `follow_steps`."""
LEAST_STEP = 2.0**-14
"""The least normal fp16 number: half a grid of any such step is an fp16 number, too."""
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
        steps: ``(num_rows, 1)``, floating point: rows are stored on grids of these steps about 0,
            whatever ``clip`` is, as fp16 numbers of at least 2^-14. None for no such grids.

    Raises:
        ValueError: ``bits`` or ``clip`` has another value or ``steps`` another shape, or a row
            does not fit into fp16 or is not finite.

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

    def __init__(
        self, table: Tensor, bits: int = 8, *, clip: str = "minmax", steps: Tensor | None = None
    ) -> None:
        super().__init__()
        check_tensor("table", table)
        if table.ndim != 2 or not table.numel() or not table.is_floating_point():
            shape = tuple(table.shape)
            raise ValueError(f"table must be floating point rows, got {table.dtype} {shape}")
        bits, clip = check_bits("bits", bits), choice("clip", clip, CLIPS)
        self.num_rows, self.width = table.shape
        self.bits, self.dtype = bits, table.dtype
        if steps is not None:
            check_tensor("steps", steps)
            shape = -(-table.numel() // self.group), 1
            if tuple(steps.shape) != shape:
                raise ValueError(f"steps must have shape {shape}, got {tuple(steps.shape)}")
        pieces = self._pieces(table.detach(), clip, steps)
        for name in pieces[0]:
            self.register_buffer(name, torch.cat([piece[name] for piece in pieces]))
        if not lacks_values(table):
            stored = [b for b in self.buffers() if b.dtype == torch.float16]
            _refuse_infinite(self.unit, self.group, table, *stored)

    def _pieces(self, table: Tensor, clip: str, steps: Tensor | None) -> list[dict[str, Tensor]]:
        """Quantise rows, a chunk at a time; return what is stored, by name."""
        chunk = CHUNK
        if lacks_values(table):
            chunk, clip = len(table), "minmax"
        if steps is None or self.bits == 16:
            return [_quantize_rows(rows, self.bits, clip) for rows in table.split(chunk)]
        pairs = zip(table.split(chunk), steps.split(chunk), strict=True)
        return [_quantize_by_steps(rows, self.bits, own) for rows, own in pairs]

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
        steps: As for `QuantizedTable`, (ceil(num_rows width / 64), 1).

    Raises:
        ValueError: ``bits`` or ``clip`` has another value or ``steps`` another shape, or a block
            does not fit into fp16 or is not finite.

    State: ``codes`` (ceil(num_rows width bits / 8),) uint8, the numbers of all rows end to end,
    packed as those of one row of `QuantizedTable`; ``scale`` and ``offset``
    (ceil(num_rows width / 64), 1) fp16.
    """

    unit = "block"

    def __init__(
        self, table: Tensor, bits: int = 8, *, clip: str = "minmax", steps: Tensor | None = None
    ) -> None:
        if check_bits("bits", bits) == 16:
            raise ValueError(f"bits must be {listed(BITS[:-1])}, got 16")
        super().__init__(table, bits, clip=clip, steps=steps)

    def _pieces(self, table: Tensor, clip: str, steps: Tensor | None) -> list[dict[str, Tensor]]:
        """Quantise whole blocks, then the numbers that are left."""
        numbers = table.flatten()
        whole = len(numbers) // BLOCK
        end = whole * BLOCK
        parts = numbers[:end].view(-1, BLOCK), numbers[end:].view(1, -1)
        steps_of = (None, None) if steps is None else (steps[:whole], steps[whole:])
        pieces = []
        for part, own in zip(parts, steps_of, strict=True):
            if part.numel():
                pieces += super()._pieces(part, clip, own)
        return [piece | {"codes": piece["codes"].flatten()} for piece in pieces]

    def forward(self, rows: Tensor) -> Tensor:
        """Unpack ``rows``, an int64 tensor of any shape: ``(*rows.shape, width)``."""
        self.require_integers()
        number = rows.unsqueeze(-1) * self.width + torch.arange(self.width, device=rows.device)
        codes = unpack(self.codes, number, self.bits)
        block = number // BLOCK
        offset, scale = self.offset[block].squeeze(-1), self.scale[block].squeeze(-1)
        return (offset.float() + scale.float() * codes).to(self.dtype)


def pack_table(
    table: Tensor, bits: int, clip: str = "minmax", steps: Tensor | None = None
) -> QuantizedTable:
    """Return a table in few bits: by rows, or in blocks if rows are narrower than `NARROW`.

    With ``clip="learned"`` on grids of ``steps``, or of `first_steps` if there are none.
    """
    narrow = table.shape[1] < NARROW and bits < 16
    if clip == LEARNED:
        clip = "minmax"
        if bits < 16 and steps is None:
            steps = first_steps(table, bits)
    return (QuantizedBlocks if narrow else QuantizedTable)(table, bits, clip=clip, steps=steps)


def _in_groups(table: Tensor) -> Tensor:
    """Return the numbers that share a step as rows, in fp32 at least; a last block ends with 0."""
    group = table.shape[1] if table.shape[1] >= NARROW else BLOCK
    exact = torch.promote_types(table.dtype, torch.float32)
    return F.pad(table.detach().to(exact).flatten(), (0, -table.numel() % group)).view(-1, group)


def first_steps(table: Tensor, bits: int) -> Tensor:
    """Return the steps to begin with: those of the least squared error among 32.

    The widest makes the grid reach all numbers, each further one is a sixteenth narrower. (The
    paper takes 2 mean|v| / sqrt(Q_p), which is far too wide at 8 bits for a short training.)

    Args:
        table: ``(num_rows, width)``, floating point.
        bits: 2, 3, 4 or 8.

    Returns:
        ``(num_rows, 1)``, or one step for each block of 64 numbers, in the dtype of the table. It
        is 0 where all numbers are.
    """
    groups, below = _in_groups(table), 2 ** (bits - 1)
    step = torch.maximum(groups.amax(1) / (below - 1), -groups.amin(1) / below).unsqueeze(1)
    best, least = step, torch.full_like(step, torch.inf)
    for _ in range(CLIP_STEPS):
        stored = _stored_step(step).to(groups.dtype)
        error = (_level(groups / stored, bits) * stored - groups).square().sum(1, keepdim=True)
        best = torch.where(error < least, step, best)
        least = torch.minimum(error, least)
        step = step * (15 / 16)
    return best.to(table.dtype)


def follow_steps(table: Tensor, change: Tensor, steps: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Let numbers and steps take up what an optimizer has changed in the rounded numbers.

    The change stands for the gradient of the rounded numbers: the chain rule, at the head of this
    module, shares it out. With plain gradient descent that is a step of descent in both. A change
    as large as the grid is none of a gradient; the number has been replaced, as by a schedule. A
    step falls by half at the most, so that it stays positive.

    Args:
        table: ``(num_rows, width)``, the numbers that were rounded.
        change: ``(num_rows, width)``, the change of their rounded values.
        steps: The steps that they were rounded with, as from `first_steps`; those that are 0
            begin anew.
        bits: 2, 3, 4 or 8.

    Returns:
        The new numbers, and the new steps.
    """
    groups, moved = _in_groups(table), _in_groups(change)
    most = 2 ** (bits - 1) - 1
    step = _stored_step(steps).to(groups.dtype)
    ratio = groups / step
    level = _level(ratio, bits)
    inside = (ratio > -most - 1) & (ratio < most)
    replaced = moved.abs() >= most * step
    slope = level - torch.where(inside, ratio, 0)
    gradient = (slope * moved.masked_fill(replaced, 0)).sum(1, keepdim=True)
    learned = steps + (gradient / (groups.shape[1] * most) ** 0.5).to(steps.dtype)
    start = torch.where(inside, groups, level * step)
    taken = torch.where(inside | replaced, start + moved, groups)
    taken = taken.flatten()[: table.numel()].view_as(table).to(table.dtype)
    learned = torch.maximum(learned, steps / 2).clamp(min=LEAST_STEP)
    if bool((steps <= 0).any()):
        learned = torch.where(steps > 0, learned, first_steps(taken, bits))
    return taken, learned


def _stored_step(steps: Tensor) -> Tensor:
    return steps.float().clamp(min=LEAST_STEP).half()


def _level(ratio: Tensor, bits: int) -> Tensor:
    """Round to whole steps on the grid about 0."""
    return ratio.round().clamp_(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _quantize_by_steps(rows: Tensor, bits: int, steps: Tensor) -> dict[str, Tensor]:
    scale, below = _stored_step(steps), 2 ** (bits - 1)
    codes = (_level(rows.float() / scale.float(), bits) + below).to(torch.uint8)
    return {"codes": pack_rows(codes, bits), "scale": scale, "offset": -below * scale}


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
