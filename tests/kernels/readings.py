"""Any reading of recipe, drawn by Hypothesis, and its vectors by NumPy from what is stored.

By torch in float64, too, which can be differentiated.
"""

from __future__ import annotations

import functools
import itertools
import operator

import numpy as np
import torch
from hypothesis import strategies as st

from memcom.addresses import Clamp, DerivedSeed, Digit, Signature
from memcom.embeddings.quantized_table import QuantizedBlocks, QuantizedTable
from memcom.kernels import FUSIONS, Mapped, Ragged, Ranges, Read, Recipe, Run
from memcom.kernels.bits import Stored, bits_for, pack
from tests.embeddings.oracle import FUSE, derived_seeds, hashed, unpacked

# --- drawing --------------------------------------------------------------------------------------


def tables(draw, rows, width, dtype, *, array=False):
    plain = torch.randn(rows, width).to(dtype)
    by_row = [] if array else [2, 3, 4, 8]
    in_blocks = [f"blocks {bits}" for bits in (2, 3, 4, 8)]
    kind = draw(st.sampled_from(["plain", "plain", "plain", *by_row, 16, *in_blocks]))
    if kind == "plain":
        return plain
    if isinstance(kind, int):
        return QuantizedTable(plain, kind)
    return QuantizedBlocks(plain, int(kind[-1]))


def addresses(draw, rows, count):
    kind = draw(st.sampled_from(["digit", "digit", "clamp", "stored", "signature"]))
    if kind == "clamp":
        return Clamp(rows - 1)
    if kind == "stored":
        bits, per_id = draw(st.integers(bits_for(rows), 20)), draw(st.integers(1, 3))
        return Stored(
            codes(count * per_id, rows, bits), bits, per_id, draw(st.integers(0, per_id - 1))
        )
    seed = torch.tensor(draw(st.integers(0, 2**32 - 1)))
    derived = DerivedSeed(seed, draw(st.integers(0, 5)))
    if kind == "signature":
        keys = draw(st.sampled_from([1, 3, 8, 9]))
        picks = tuple(draw(st.lists(st.integers(0, keys - 1), min_size=1, max_size=min(keys, 7))))
        signatures = torch.randint(256, (count, keys), dtype=torch.uint8)
        return Signature(rows, signatures, picks, derived)
    seed = draw(st.sampled_from([None, seed, derived]))
    if draw(st.booleans()) and rows >= 2:
        width = draw(st.integers(1, rows.bit_length() - 1))
        return Digit(2**width, 2 ** draw(st.integers(0, 5)), draw(st.integers(2, 4)), seed)
    return Digit(rows, draw(st.sampled_from([1, 1, 3, 16, 977])), 1, seed)


def codes(count, below, bits):
    return pack(torch.randint(below, (count,)), bits)


def reads(draw, width, count, dtype):
    rows, first = draw(st.integers(1, 40)), draw(st.integers(0, 3))
    projection = None
    if draw(st.booleans()) and dtype == torch.float32:
        inner = draw(st.integers(1, 18))
        projection, width = torch.randn(inner, width), inner
    table = tables(draw, first + rows, width, dtype)
    address = addresses(draw, rows, count)
    if first and isinstance(address, Clamp):
        first = 0
    return Read("t", table, address, first, projection)


def runs(draw, width, count, dtype):
    numbers = draw(st.integers(width, 90))
    address = addresses(draw, numbers, count)
    sign = None
    seed = getattr(address, "seed", None)
    if isinstance(seed, DerivedSeed) and draw(st.booleans()):
        sign = Digit(2, seed=DerivedSeed(seed.seed, 7))
    return Run("t", tables(draw, numbers, 1, dtype, array=True), address, width, sign)


def pieces(draw, width, count, dtype):
    return (reads if draw(st.booleans()) else runs)(draw, width, count, dtype)


def recipes(draw, width, count, dtype, *, nested=True):
    fusion, number = draw(st.sampled_from(FUSIONS)), draw(st.integers(1, 3))
    chosen, shift, weights, weighted = [], None, None, draw(st.booleans())
    if fusion == "concat":
        cuts = sorted(draw(st.sets(st.integers(1, max(1, width - 1)), max_size=number - 1)))
        widths = [b - a for a, b in zip([0, *cuts], [*cuts, width], strict=True) if b > a]
        inner = nested and draw(st.booleans())
        weighted = weighted and not inner
        for part in widths:
            draw_one = recipes if inner else pieces
            options = {"nested": False} if inner else {}
            chosen.append(draw_one(draw, part, count, dtype, **options))
        if inner:
            return Recipe(tuple(chosen), "concat")
    else:
        for j in range(number):
            narrow = j > 0 and not weighted and draw(st.booleans())
            piece = pieces(draw, 1 if narrow else width, count, dtype)
            bare = {"projection": None} if isinstance(piece, Read) else {"sign": None}
            if narrow and bare != {"projection": None}:
                piece = piece._replace(**bare)
            elif narrow:
                piece = Read("t", torch.randn(9, 1).to(dtype), addresses(draw, 9, count))
            chosen.append(piece)
    if weighted:
        table = torch.randn(9, len(chosen)).to(dtype)
        weights = Read("w", table, addresses(draw, 9, count))
    if draw(st.booleans()):
        shift = Read("s", torch.randn(9, 1).to(dtype), addresses(draw, 9, count))
    return Recipe(tuple(chosen), fusion, shift, weights)


def ragged(draw, width, count, dtype):
    chunk = draw(st.integers(1, width))
    of_row = -(-width // chunk)
    lengths = torch.randint(of_row + 1, (count,))
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    total = max(1, int(ends[-1]))
    bits = bits_for(total + 1)
    values, starts = tables(draw, total, chunk, dtype), Stored(pack(ends, bits), bits)
    if draw(st.booleans()):
        return Ragged(values, starts, None, width)
    found = torch.cat([torch.randperm(of_row)[:n] for n in lengths.tolist()] or [lengths])
    places = torch.zeros(total, dtype=torch.int64)
    places[: len(found)] = found
    bits = bits_for(of_row)
    return Ragged(values, starts, Stored(pack(places, bits), bits), width)


def simple(draw, width, count, dtype):
    return (ragged if draw(st.integers(0, 3)) == 0 else recipes)(draw, width, count, dtype)


def ranges(draw, width, count, dtype):
    cuts = sorted(draw(st.sets(st.integers(1, max(1, count - 1)), max_size=2)) | {0, count})
    sizes = [b - a for a, b in itertools.pairwise(cuts)]
    return Ranges(tuple((size, simple(draw, width, size, dtype)) for size in sizes))


DTYPES = torch.float32, torch.float32, torch.float16, torch.bfloat16


@st.composite
def readings(draw, dtypes=DTYPES):
    """A reading, how many ids it has, and the width of its vectors."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    dtype = draw(st.sampled_from(dtypes))
    width, count = draw(st.sampled_from([1, 2, 4, 5, 16, 21, 70])), draw(st.integers(1, 60))
    kind = draw(st.sampled_from(["simple", "ranges", "mapped"]))
    if kind == "simple":
        reading = simple(draw, width, count, dtype)
    elif kind == "ranges":
        reading = ranges(draw, width, count, dtype)
    else:
        below = draw(st.integers(1, 30))
        inner = (ranges if draw(st.booleans()) else simple)(draw, width, below, dtype)
        reading = Mapped(Stored(codes(count, below, 7), 7), inner, below)
    return reading, count, width, dtype


# --- its vectors ----------------------------------------------------------------------------------


def stored(table):
    """The float32 numbers of a table, unpacked here."""
    if isinstance(table, torch.Tensor):
        return table.detach().float().numpy()
    if table.bits == 16:
        return table.codes.numpy().astype(np.float32)
    shape = table.num_rows, table.width
    in_rows = table.codes.ndim == 2
    numbers = unpacked(table.codes.numpy(), table.bits, shape[1] if in_rows else np.prod(shape))
    scale, offset = (t.float().numpy() for t in (table.scale, table.offset))
    if in_rows:
        return (offset + scale * numbers).astype(np.float32)
    block = np.arange(len(numbers)) // 64
    return (offset[block, 0] + scale[block, 0] * numbers).astype(np.float32).reshape(shape)


def number_at(packed, bits, index):
    """One of the numbers of ``bits`` bits, least significant first."""
    whole = int.from_bytes(packed.numpy().tobytes(), "little")
    return [(whole >> (bits * int(k))) & (2**bits - 1) for k in index]


def seed_of(seed):
    if isinstance(seed, DerivedSeed):
        return derived_seeds(int(seed.seed), seed.number + 1)[seed.number]
    return int(seed)


def rows_of(address, ids):
    if isinstance(address, Clamp):
        return np.minimum(ids, address.last)
    if isinstance(address, Stored):
        index = ids * address.per_id + address.which
        return np.array(number_at(address.packed, address.bits, index), dtype=np.int64)
    if isinstance(address, Signature):
        keys = address.keys.numpy().astype(object)
        key = [
            sum(int(b) * 256**k for k, b in enumerate(keys[i, address.picks][::-1])) for i in ids
        ]
        return hashed(key, seed_of(address.seed)) % address.modulus
    key = ids if address.seed is None else hashed(ids, seed_of(address.seed))
    if address.stride > 1:
        start, width = address.divisor.bit_length() - 1, address.modulus.bit_length() - 1
        bits = [((key >> (start + k * address.stride)) & 1) << k for k in range(width)]
        return np.sum(bits, axis=0, dtype=np.int64)
    return key // address.divisor % address.modulus


def vectors_of(reading, ids):
    """The vectors of ``ids``, in float32 and in the order of the recipe."""
    if isinstance(reading, Mapped):
        return vectors_of(reading.reading, rows_of(reading.address, ids))
    if isinstance(reading, Ranges):
        out, low = None, 0
        for size, part in reading.parts:
            inside = (ids >= low) & (ids < low + size)
            found = vectors_of(part, ids[inside] - low)
            out = np.zeros((len(ids), found.shape[1]), np.float32) if out is None else out
            out[inside] = found
            low += size
        return out
    if isinstance(reading, Ragged):
        values, out = (
            stored(reading.values),
            np.zeros((len(ids), reading.columns + 100), np.float32),
        )
        chunk = values.shape[1]
        for b, i in enumerate(ids):
            start, end = number_at(reading.starts.packed, reading.starts.bits, [i, i + 1])
            for k, piece in enumerate(range(start, end)):
                place = k
                if reading.places is not None:
                    (place,) = number_at(reading.places.packed, reading.places.bits, [piece])
                out[b, place * chunk : (place + 1) * chunk] = values[piece]
        return out[:, : reading.columns]
    if isinstance(reading, Read):
        rows = stored(reading.table)[rows_of(reading.address, ids) + reading.first]
        return rows if reading.projection is None else rows @ reading.projection.numpy()
    if isinstance(reading, Run):
        cells = rows_of(reading.start, ids)[:, None] + np.arange(reading.columns)
        numbers = stored(reading.table)[cells % len(stored(reading.table)), 0]
        if reading.sign is None:
            return numbers
        return numbers * (1 - 2 * rows_of(reading.sign, ids))[:, None].astype(np.float32)
    rows = [vectors_of(read, ids) for read in reading.reads]
    if reading.weights is not None:
        weights = vectors_of(reading.weights, ids)
        rows = [row * weights[:, j, None] for j, row in enumerate(rows)]
    if reading.fusion != "concat":
        rows = [row + np.zeros((1, max(r.shape[1] for r in rows)), np.float32) for row in rows]
        rows = [row.astype(np.float32) for row in rows]
    fused = FUSE[reading.fusion](rows)
    return fused if reading.shift is None else fused + vectors_of(reading.shift, ids)


class Doubles(dict):
    """The float64 numbers of each table, leaves of a graph, by the table's identity."""

    def of(self, table):
        if id(table) not in self:
            self[id(table)] = torch.from_numpy(stored(table)).double().requires_grad_()
        return self[id(table)]


def differentiable(reading, ids, doubles):
    """The vectors of ``ids`` as `vectors_of` has them, by torch from `Doubles`."""
    if isinstance(reading, Mapped):
        return differentiable(reading.reading, rows_of(reading.address, ids), doubles)
    if isinstance(reading, Ranges):
        low, found, order = 0, [], []
        for size, part in reading.parts:
            inside = np.flatnonzero((ids >= low) & (ids < low + size))
            found.append(differentiable(part, ids[inside] - low, doubles))
            order.append(inside)
            low += size
        return torch.cat(found)[np.argsort(np.concatenate(order))]
    if isinstance(reading, Ragged):
        values = doubles.of(reading.values)
        vectors = [values.new_zeros(0, reading.columns)]
        chunk = values.shape[1]
        for i in ids:
            start, end = number_at(reading.starts.packed, reading.starts.bits, [i, i + 1])
            places = {}
            for k, piece in enumerate(range(start, end)):
                place = k
                if reading.places is not None:
                    (place,) = number_at(reading.places.packed, reading.places.bits, [piece])
                places[place] = values[piece]
            pieces = -(-reading.columns // chunk)
            nothing = values.new_zeros(chunk)
            row = torch.cat([places.get(k, nothing) for k in range(pieces)])
            vectors.append(row[None, : reading.columns])
        return torch.cat(vectors)
    if isinstance(reading, Read):
        rows = doubles.of(reading.table)[rows_of(reading.address, ids) + reading.first]
        return rows if reading.projection is None else rows @ doubles.of(reading.projection)
    if isinstance(reading, Run):
        cells = rows_of(reading.start, ids)[:, None] + np.arange(reading.columns)
        numbers = doubles.of(reading.table)
        numbers = numbers[cells % len(numbers), 0]
        if reading.sign is None:
            return numbers
        return numbers * torch.from_numpy(1 - 2 * rows_of(reading.sign, ids))[:, None]
    rows = [differentiable(read, ids, doubles) for read in reading.reads]
    if reading.weights is not None:
        weights = differentiable(reading.weights, ids, doubles)
        rows = [row * weights[:, j, None] for j, row in enumerate(rows)]
    if reading.fusion == "concat":
        fused = torch.cat(rows, 1)
    else:
        fused = functools.reduce(FUSE_TWO[reading.fusion], rows)
    return fused if reading.shift is None else fused + differentiable(reading.shift, ids, doubles)


FUSE_TWO = {"sum": operator.add, "mult": operator.mul}
