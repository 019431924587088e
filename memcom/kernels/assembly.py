"""Any reading of recipe as numbers, one kernel for all of them.

An assembly is a list of lines that `memcom.kernels.cpu.assemble`, or on a GPU
`memcom.kernels.gpu.assemble`, carries out for a block of ids, from top to bottom. The first says
how many numbers a vector has and where ids end. Then

    MAP       sends the ids elsewhere, by a stored map
    PART      takes up the ids of a range, and counts them from 0
    FACTOR    multiplies the factor of each vector by a number
    TERM      adds a number to the term of each vector
    WEIGHTS   reads a row of weights
    ROW       reads a row, or a run of an array, and sets, adds or multiplies it in
    RAGGED    reads as many pieces as the row has

so that a method is a list of lines, not a kernel. A line holds an address (from `SOURCE` on),
what is read there (from `TABLE` on), and what becomes of it (from `OFFSET` on).

For gradients each line has *ties* to others: `ties_of` says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from memcom.addresses import Clamp, DerivedSeed, Digit, Signature
from memcom.kernels import gate
from memcom.kernels.bits import Stored
from memcom.kernels.recipe import (
    Mapped,
    PackedRows,
    Ragged,
    Ranges,
    Read,
    Reading,
    Recipe,
    Run,
    address_flaw,
)

# The first line. `KEPT` is where a lookup leaves the rows that each line read, or 0.
WIDTH, LIMIT, PADDING, OUT_FORMAT, MOST_WEIGHTS, MOST_COLUMNS, KEPT = range(1, 8)
# Every other line.
(
    OP,
    SOURCE,
    DIVISOR,
    MODULUS,
    STRIDE,
    SEED,
    DERIVED,
    CODES,
    CODES_SIZE,
    BITS,
    PER_ID,
    WHICH,
    FIRST,
    TABLE,
    FORMAT,
    COLUMNS,
    STEP,
    NUMBERS,
    SCALES,
    LOWS,
    GROUP,
    OFFSET,
    MODE,
    WEIGHT,
    FINISH,
    SIGN,
    PROJECTION,
    PROJECTED,
    LOW,
    HIGH,
    NEXT,
    BLANK,
) = range(32)
LINE = 32
HEAD, MAP, PART, FACTOR, TERM, WEIGHTS, ROW, RAGGED = range(8)  # values of OP
DIGIT, CLAMP, STORED, SIGNATURE = range(4)  # of SOURCE
SINGLE, HALF, BRAIN = range(3)  # of FORMAT
IN_ROWS, IN_BLOCKS = 16, 32  # of FORMAT, for packed numbers: one of these, plus their bits
SET, ADD, MULTIPLY = range(3)  # of MODE
NONE = -1
WORD_BITS = 57  # that eight bytes hold at the least, from any bit of the first one on
# A ragged line reads its values from TABLE on, its starts from CODES on, and its places here.
PLACES, PLACES_SIZE, PLACE_BITS = DIVISOR, MODULUS, STRIDE
# Of a row's line: its number, from 1 on, among `SIDE` lines that are carried out at once; or 0.
TOGETHER = BLANK
SIDE = 8
# The ties of a row's line: the first line of its group, rows that are multiplied; whether it is the
# last; the lines of the numbers that scale and shift the group; where the gradients of a row that
# is multiplied by others are kept, in columns before; whether weights, signs, numbers or other rows
# scale it; whether weights or factors need the dot product of the row and the gradient.
BEGIN, LAST, SCALARS, SCALARS_END, VECTORS, SCALED, DOTTED = range(7)
TIES = 8

FORMATS = {torch.float32: SINGLE, torch.float16: HALF, torch.bfloat16: BRAIN}
_ADDRESSES = (TABLE, SEED, CODES, SCALES, LOWS, PROJECTION)


class Unsupported(Exception):
    """Raised for a reading that the kernels cannot carry out; it says why."""


class Assembly(NamedTuple):
    """A reading compiled for the CPU, or for a GPU.

    Attributes:
        lines: The int64 lines described above, with numbers of the sources, from 1 on.
        code: The lines with addresses of the sources on the CPU.
        address: Where ``code`` lies in memory.
        width: Coordinates of a vector.
        dtype: Of the vectors.
        tables: The tensors that are read and may want a gradient.
        sources: Every tensor that is read.
        marks: Where they lie.
        constants: Pairs of a seed and the value it had: the lines hold numbers that follow from it.
        held: The sources' memory as it was. A table may get other memory; this stays alive.
        ties: The ties of each line.
        without_gradients: Why it has no gradients; ``""`` if it has.
    """

    lines: NDArray[np.int64]
    code: NDArray[np.int64]
    address: int
    width: int
    dtype: torch.dtype
    tables: tuple[Tensor, ...]
    sources: tuple[Tensor, ...]
    marks: tuple[gate.Mark, ...]
    constants: tuple[tuple[Tensor, int], ...]
    held: tuple[Tensor, ...]
    ties: NDArray[np.int64]
    without_gradients: str

    def in_place(self) -> Assembly:
        """Return the assembly for where its memory lies now, to be called before a backward pass.

        Returns:
            This assembly, or one with other addresses.

        Raises:
            RuntimeError: The memory that the forward pass read is gone.
        """
        if all(mark.holds(held) for mark, held in zip(self.marks, self.held, strict=True)):
            return self
        for held in self.held:
            gate.require_memory(held)
        code = _bound(self.lines, self.held)
        marks = tuple(map(gate.Mark, self.held))
        return self._replace(code=code, address=code.ctypes.data, marks=marks)


def assemble(
    reading: Reading,
    num_embeddings: int,
    padding_idx: int | None = None,
    width: int | None = None,
    device: torch.device = gate.CPU,
) -> Assembly:
    """Compile a reading.

    Args:
        reading: What to read.
        num_embeddings: One more than the largest valid id.
        padding_idx: The id whose vector is zero.
        width: Coordinates of a vector; those that the reading does not fill are 0.
        device: Where its tensors should be.

    Returns:
        The assembly; it keeps the memory of the tensors alive.

    Raises:
        Unsupported: The kernels cannot read a tensor, or the reading is none they know.
    """
    maker = _Maker(device)
    maker.add(reading, num_embeddings, width)
    lines = np.array([[0] * LINE, *maker.lines], dtype=np.int64)
    dtypes = maker.dtypes
    if len(dtypes) != 1:
        raise Unsupported(f"its tables are {' and '.join(sorted(map(str, dtypes)))}")
    dtype = next(iter(dtypes))
    weights = max([int(line[COLUMNS]) for line in lines[1:] if line[OP] == WEIGHTS], default=0)
    columns = max([int(line[COLUMNS]) for line in lines[1:] if line[PROJECTION]], default=0)
    padding = NONE if padding_idx is None else padding_idx
    lines[0, : MOST_COLUMNS + 1] = (
        *(HEAD, maker.width, num_embeddings, padding, FORMATS[dtype]),
        *(weights, columns),
    )
    held = tuple(source.detach() for source in maker.sources)
    code = _bound(lines, held) if device == gate.CPU else lines
    return Assembly(
        lines=lines,
        code=code,
        address=code.ctypes.data,
        width=maker.width,
        dtype=dtype,
        tables=tuple(s for s in maker.sources if s.is_floating_point()),
        sources=tuple(maker.sources),
        marks=tuple(map(gate.Mark, held)),
        constants=tuple(maker.constants),
        held=held,
        ties=ties_of(lines),
        without_gradients=_without_gradients(lines, dtype, device),
    )


def _bound(lines: NDArray[np.int64], sources: Sequence[Tensor]) -> NDArray[np.int64]:
    """Return the lines with addresses of the sources for their numbers."""
    code = lines.copy()
    for line in code[1:]:
        for field in (*_ADDRESSES, *([PLACES] if line[OP] == RAGGED else [])):
            if line[field]:
                source = sources[line[field] - 1]
                line[field] = gate.address(source, source.dtype)
    _share_words(code)
    _put_together(code)
    return code


def _without_gradients(lines: NDArray[np.int64], dtype: torch.dtype, device: torch.device) -> str:
    """Return why there are no compiled gradients, or ``""``."""
    if device != gate.CPU:
        return "gradients of these rows are left to torch"
    if dtype != torch.float32:
        return f"gradients of {dtype} rows are left to torch"
    matrices = {int(line[PROJECTION]) for line in lines[1:]} - {0}
    if matrices & {int(line[TABLE]) for line in lines[1:]}:
        return "gradients of a matrix that is read by rows too are left to torch"
    return ""


def ties_of(lines: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which lines belong together, a row of `TIES` for each line."""
    ties = np.zeros((len(lines), TIES), np.int64)
    ties[:, VECTORS] = NONE
    begin, scalars, kept = 0, 0, 0
    for number, line in enumerate(lines.tolist()):
        if line[OP] == FACTOR and not line[COLUMNS]:
            scalars = number + 1
        if line[OP] != ROW:
            continue
        if line[MODE] != MULTIPLY:
            begin = number
        ties[number, BEGIN] = begin
        following = lines[number + 1] if number + 1 < len(lines) else None
        if following is not None and following[OP] == ROW and following[MODE] == MULTIPLY:
            continue
        group, numbers = slice(begin, number + 1), range(0)
        if line[FINISH]:
            numbers = range(scalars, _end_of_scalars(lines, scalars))
        several, weighted = number > begin, line[WEIGHT] != NONE
        signed = bool((lines[group, SIGN] != NONE).any())
        ties[number, LAST : SCALARS_END + 1] = 1, numbers.start, numbers.stop
        ties[group, SCALED] = several or weighted or signed or bool(line[FINISH])
        ties[group, DOTTED] = weighted or any(lines[j, OP] == FACTOR for j in numbers)
        for j in range(begin, number + 1) if several else ():
            ties[j, VECTORS] = kept
            kept += int(lines[j, PROJECTED] or lines[j, COLUMNS])
    return ties


def _end_of_scalars(lines: NDArray[np.int64], number: int) -> int:
    while lines[number, OP] in (FACTOR, TERM):
        number += 1
    return number


def _share_words(code: NDArray[np.int64]) -> None:
    """Let lines take stored numbers from the word that an earlier one has read: `NEXT` bits on."""
    reader = code[0]
    for line in code[1:]:
        if line[OP] in (PART, MAP, RAGGED) or line[SOURCE] == SIGNATURE:
            reader = code[0]  # other ids, or other words
        elif line[SOURCE] == STORED:
            ahead = (line[WHICH] - reader[WHICH]) * line[BITS]
            same = all(line[field] == reader[field] for field in (CODES, BITS, PER_ID))
            if same and 0 < ahead <= WORD_BITS - line[BITS]:
                line[NEXT] = ahead
            else:
                reader = line


def _put_together(code: NDArray[np.int64]) -> None:
    """Number the lines that set short float32 pieces side by side, from one table: `TOGETHER`."""
    plain = {OP: ROW, FORMAT: SINGLE, MODE: SET, WEIGHT: NONE, SIGN: NONE, FINISH: 0, PROJECTION: 0}
    first = 1
    while first + SIDE <= len(code):
        group, line = code[first : first + SIDE], code[first]
        same = {**plain, **{field: line[field] for field in (TABLE, COLUMNS, STEP)}}
        offsets = line[OFFSET] + line[COLUMNS] * np.arange(SIDE)
        if (
            line[COLUMNS] in (1, 2, 4, 8)
            and (group[:, list(same)] == list(same.values())).all()
            and (group[:, OFFSET] == offsets).all()
        ):
            group[:, TOGETHER] = range(1, SIDE + 1)
            first += SIDE
        else:
            first += 1


class _Maker:
    """The lines of a reading, in the order in which they are carried out."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.lines: list[list[int]] = []
        self.sources: list[Tensor] = []
        self.constants: list[tuple[Tensor, int]] = []
        self.dtypes: set[torch.dtype] = set()
        self.width = 0

    def add(self, reading: Reading, count: int, width: int | None) -> None:
        """Add the lines of a reading for ids in ``[0, count)``."""
        parts = [(low, high, found) for low, high, found in _parts(reading, 0, count)]
        natural = {_width(part) for _, _, part in parts}
        self.width = max(natural) if width is None else width
        if max(natural) > self.width or (width is None and len(natural) > 1):
            raise Unsupported(f"its parts have {sorted(natural)} columns")
        for low, high, part in parts:
            start = len(self.lines)
            if isinstance(part, Mapped):
                if len(parts) > 1:
                    raise Unsupported("one of its ranges is mapped")
                ids = {MODULUS: part.num_rows, NUMBERS: part.num_rows}
                self.line(MAP, self.stored(part.address, count), ids)
                self.add(part.reading, part.num_rows, self.width)
                return
            blank = isinstance(part, Ragged) or _width(part) < self.width
            self.line(PART, {LOW: low, HIGH: high, BLANK: blank})
            if isinstance(part, Ragged):
                self.ragged(part, high - low)
            else:
                self.recipe(part, high - low, 0)
            self.lines[start][NEXT] = len(self.lines) + 1  # the head comes before them

    def line(self, op: int, *fields: dict[int, int]) -> None:
        """Add a line."""
        line = [0] * LINE
        line[OP], line[DERIVED], line[WEIGHT], line[SIGN] = op, NONE, NONE, NONE
        for some in fields:
            for field, value in some.items():
                line[field] = int(value)
        self.lines.append(line)

    def recipe(self, recipe: Recipe, count: int, offset: int) -> None:
        """Add the lines of fused rows, from column ``offset`` on."""
        pieces = recipe.reads
        nested = any(isinstance(piece, Recipe) for piece in pieces)
        if recipe.fusion == "concat":
            if nested and (recipe.weights or recipe.shift):
                raise Unsupported("recipes side by side are weighted or shifted")
            self.numbers(recipe, [], count)
            for j, piece in enumerate(pieces):
                if isinstance(piece, Recipe):
                    self.recipe(piece, count, offset)
                else:
                    self.row(recipe, j, piece, count, offset, SET, finish=recipe.shift is not None)
                offset += _width(piece)
            return
        if nested:
            raise Unsupported("recipes are fused")
        width = _width(recipe)
        narrow = [p for p in pieces if _width(p) < width]
        if any(_width(p) > 1 for p in narrow) or (narrow and recipe.weights):
            raise Unsupported(f"rows of widths {sorted(map(_width, pieces))} cannot be fused")
        if any(
            getattr(p, "projection", None) is not None or getattr(p, "sign", None) for p in narrow
        ):
            raise Unsupported("a single number is projected or negated")
        self.numbers(recipe, narrow, count)
        wide = [(j, p) for j, p in enumerate(pieces) if _width(p) == width]
        has_numbers = bool(narrow) or recipe.shift is not None
        for place, (j, piece) in enumerate(wide):
            mode = SET if place == 0 else (MULTIPLY if recipe.fusion == "mult" else ADD)
            finish = has_numbers and place == len(wide) - 1
            self.row(recipe, j, piece, count, offset, mode, finish=finish)

    def numbers(self, recipe: Recipe, narrow: Sequence[Read | Run], count: int) -> None:
        """Add the lines of single numbers and of weights."""
        if narrow or recipe.shift is not None:
            self.line(FACTOR, {COLUMNS: 0})  # factor 1 and term 0, to begin with
        op = FACTOR if recipe.fusion == "mult" else TERM
        for piece in narrow:
            self.line(op, self.address(piece, count), self.read(piece))
        if recipe.shift is not None:
            if _width(recipe.shift) != 1:
                raise Unsupported("the shift is not a single number")
            if recipe.shift.projection is not None:
                raise Unsupported("the shift is projected")
            self.line(TERM, self.address(recipe.shift, count), self.read(recipe.shift))
        if recipe.weights is not None:
            if _width(recipe.weights) != len(recipe.reads):
                raise Unsupported("there is not one weight per row")
            if recipe.weights.projection is not None:
                raise Unsupported("the weights are projected")
            read = self.read(recipe.weights)
            self.line(WEIGHTS, self.address(recipe.weights, count), read)

    def row(
        self,
        recipe: Recipe,
        j: int,
        piece: Read | Run,
        count: int,
        offset: int,
        mode: int,
        *,
        finish: bool,
    ) -> None:
        """Add the line of a row or a run."""
        fields = {OFFSET: offset, MODE: mode, FINISH: finish}
        if recipe.weights is not None:
            fields[WEIGHT] = j
        if isinstance(piece, Run) and piece.sign is not None:
            seed = piece.sign.seed
            if not isinstance(seed, DerivedSeed) or piece.sign.modulus != 2:
                raise Unsupported("a sign that follows from no seed")
            fields[SIGN] = seed.number
        if isinstance(piece, Read) and piece.projection is not None:
            matrix = piece.projection
            if matrix.ndim != 2 or matrix.shape[0] != _shape(piece.table)[1]:
                raise Unsupported(f"a projection of shape {list(matrix.shape)}")
            fields[PROJECTION] = self.source(matrix, torch.float32)
            fields[PROJECTED] = matrix.shape[1]
            self.dtypes.add(matrix.dtype)
        self.line(ROW, self.address(piece, count), self.read(piece), fields)

    def ragged(self, reading: Ragged, count: int) -> None:
        """Add the line of rows of different lengths."""
        pieces, width = _shape(reading.values)
        if reading.starts.per_id != 1 or reading.starts.which:
            raise Unsupported("several rows of one id")
        fields = {OFFSET: 0, COLUMNS: reading.columns, STEP: width}
        if reading.places is not None:
            fields |= {
                PLACES: self.source(reading.places.packed, torch.uint8),
                PLACES_SIZE: len(reading.places.packed),
                PLACE_BITS: reading.places.bits,
            }
            _require_codes(reading.places, pieces)
        self.line(
            RAGGED, self.table(reading.values), fields, self.stored(reading.starts, count + 1)
        )

    def read(self, piece: Read | Run) -> dict[int, int]:
        """Fields of what is read, from `TABLE` on."""
        numbers, width = _shape(piece.table)
        columns, step = (piece.columns, 1) if isinstance(piece, Run) else (width, width)
        if isinstance(piece, Run) and (width != 1 or not 1 <= columns <= numbers):
            raise Unsupported(f"{columns} numbers of an array of {numbers} x {width}")
        fields = self.table(piece.table)
        if isinstance(piece, Run) and columns > 1 and IN_ROWS <= fields[FORMAT] < IN_BLOCKS:
            raise Unsupported("a run of numbers that have a scale each")
        return {**fields, COLUMNS: columns, STEP: step}

    def table(self, table: Tensor | nn.Module) -> dict[int, int]:
        """Fields of a table: where its numbers are, and how they are stored."""
        rows, width = _shape(table)
        fields = {NUMBERS: rows * width, GROUP: max(1, width)}
        if isinstance(table, Tensor):
            self.dtypes.add(table.dtype)
            if table.dtype not in FORMATS:
                raise Unsupported(f"a table is {table.dtype}")
            return {**fields, TABLE: self.source(table, table.dtype), FORMAT: FORMATS[table.dtype]}
        packed = _packed(table)
        self.dtypes.add(packed.dtype)
        if packed.bits == 16:
            codes = self.source(packed.codes, torch.float16)
            return {**fields, TABLE: codes, FORMAT: HALF}
        assert packed.scale is not None
        assert packed.offset is not None
        in_blocks = packed.codes.ndim == 1
        stored, groups = rows * width if in_blocks else rows, packed.group
        needed = -(-stored // groups) if in_blocks else rows
        size = -(-stored * packed.bits // 8) if in_blocks else rows * -(-width * packed.bits // 8)
        if packed.codes.numel() != size or min(len(packed.scale), len(packed.offset)) < needed:
            raise Unsupported(f"packed rows of other sizes than {rows} x {width}")
        return {
            **fields,
            TABLE: self.source(packed.codes, torch.uint8),
            SCALES: self.source(packed.scale, torch.float16),
            LOWS: self.source(packed.offset, torch.float16),
            FORMAT: (IN_BLOCKS if in_blocks else IN_ROWS) + packed.bits,
            GROUP: groups,
        }

    def address(self, piece: Read | Run, count: int) -> dict[int, int]:
        """Fields of the address of a row or a run, from `SOURCE` on."""
        address = piece.start if isinstance(piece, Run) else piece.address
        if address_flaw(address):
            raise Unsupported(f"the address of {piece.name} {address_flaw(address)}")
        if isinstance(address, Clamp):
            fields, rows = {SOURCE: CLAMP, MODULUS: address.last + 1}, address.last + 1
        elif isinstance(address, Digit):
            rows = address.modulus
            fields = {
                SOURCE: DIGIT,
                DIVISOR: address.divisor,
                MODULUS: address.modulus,
                STRIDE: address.stride,
                **self.seed(address.seed),
            }
        elif isinstance(address, Stored):
            fields, rows = self.stored(address, count), 0
        elif isinstance(address, Signature):
            fields, rows = self.signature(address, count), address.modulus
        else:
            raise Unsupported(f"an address is a {type(address).__name__}")
        available, first = _shape(piece.table)[0], piece.first if isinstance(piece, Read) else 0
        if first < 0 or rows + first > available:
            raise Unsupported(f"{piece.name} has fewer rows than its address says")
        if isinstance(address, Stored):
            fields[MODULUS] = available
        most = 256 ** len(address.picks) if isinstance(address, Signature) else count
        return {**fields, FIRST: first, HIGH: most}

    def seed(self, seed: Tensor | DerivedSeed | None) -> dict[int, int]:
        """Fields of a seed."""
        if seed is None:
            return {}
        tensor = seed.seed if isinstance(seed, DerivedSeed) else seed
        if tensor.numel() != 1:
            raise Unsupported("a seed is not one number")
        number = seed.number if isinstance(seed, DerivedSeed) else NONE
        return {SEED: self.source(tensor, torch.int64), DERIVED: number}

    def stored(self, address: Stored, count: int) -> dict[int, int]:
        """Fields of a stored map."""
        _require_codes(address, count)
        return {
            SOURCE: STORED,
            CODES: self.source(address.packed, torch.uint8),
            CODES_SIZE: len(address.packed),
            BITS: address.bits,
            PER_ID: address.per_id,
            WHICH: address.which,
        }

    def signature(self, address: Signature, count: int) -> dict[int, int]:
        """Fields of a hash of some bytes that the id has."""
        keys = address.keys
        if keys.ndim != 2 or len(keys) < count or keys.shape[1] > 255 or len(address.picks) > 7:
            raise Unsupported("signatures of other sizes")
        picks = sum((1 + pick) << (8 * k) for k, pick in enumerate(address.picks))
        seed = address.seed.seed
        self.constants.append((seed, int(seed)))
        source = self.source(keys, torch.uint8)
        before = self.lines[-1] if self.lines else [0] * LINE
        return {
            SOURCE: SIGNATURE,
            MODULUS: address.modulus,
            CODES: source,
            PER_ID: keys.shape[1],
            WHICH: picks,
            NEXT: (before[SOURCE], before[CODES]) == (SIGNATURE, source),  # read by the line before
            **self.seed(address.seed),
        }

    def source(self, tensor: Tensor, dtype: torch.dtype) -> int:
        """Number of a tensor among the sources, from 1 on."""
        why = gate.flaw(tensor, (dtype,), self.device)
        if why:
            raise Unsupported(f"a table of shape {list(tensor.shape)} {why}")
        for k, known in enumerate(self.sources):
            if known is tensor:
                return k + 1
        self.sources.append(tensor)
        return len(self.sources)


def _parts(reading: Reading, low: int, high: int) -> Iterable[tuple[int, int, Any]]:
    """Flatten ranges of ids: where each begins and ends, and what it reads."""
    if not isinstance(reading, Ranges):
        yield low, high, reading
        return
    for count, inner in reading.parts:
        yield from _parts(inner, low, low + count)
        low += count
    if low != high:
        raise Unsupported(f"ranges end at id {low}, not {high}")


def _width(reading: Any) -> int:
    """Columns that a reading, a recipe or a row fills."""
    if isinstance(reading, Run):
        return reading.columns
    if isinstance(reading, Read):
        return (_shape(reading.table) if reading.projection is None else reading.projection.shape)[
            1
        ]
    if isinstance(reading, Ragged):
        return reading.columns
    if isinstance(reading, Mapped):
        return max(_width(part) for _, _, part in _parts(reading.reading, 0, reading.num_rows))
    widths = [_width(piece) for piece in reading.reads]
    return sum(widths) if reading.fusion == "concat" else max(widths)


def _shape(table: Tensor | nn.Module) -> tuple[int, int]:
    if isinstance(table, Tensor):
        if table.ndim != 2:
            raise Unsupported(f"a table has {table.ndim} dimensions, not 2")
        return table.shape[0], table.shape[1]
    return _packed(table).shape


def _packed(table: nn.Module) -> PackedRows:
    packed = getattr(table, "packed_rows", None)
    if not isinstance(packed, PackedRows):
        raise Unsupported(f"a table is a {type(table).__name__}")
    return packed


def _require_codes(address: Stored, count: int) -> None:
    """Refuse a map with too few numbers, or of which another number is read."""
    if address_flaw(address):
        raise Unsupported(f"a map {address_flaw(address)}")
    if len(address.packed) * 8 < count * address.per_id * address.bits:
        raise Unsupported(f"a map holds fewer than {count} x {address.per_id} numbers")
