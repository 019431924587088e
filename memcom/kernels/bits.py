"""Small integers, packed bit by bit.

Code number k of b bits lies in the bits ``[b k, b k + b)`` of one string of bits, least significant
first, kept as uint8. One read touches at most ``ceil(b / 8) + 1`` bytes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from memcom._check import whole
from memcom.addresses import lacks_values

MAX_BITS = 40
CHUNK = 2**19
"""Codes packed at a time; a multiple of 8, so that every piece ends with a whole byte."""


def bits_for(count: int) -> int:
    """Bits of a code with ``count`` values, at least 1."""
    return max(1, (int(count) - 1).bit_length())


def packed_nbytes(count: int, bits: int) -> int:
    """Bytes of ``count`` codes of ``bits`` bits."""
    return -(-count * bits // 8)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack int64 codes in ``[0, 2**bits)``, in row-major order, into a string of uint8.

    Raises a ValueError that names a code that does not fit.
    """
    whole("bits", bits, 1, MAX_BITS)
    codes = codes.reshape(-1)
    if lacks_values(codes):
        return codes.new_empty(packed_nbytes(len(codes), bits), dtype=torch.uint8)
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < 2**bits:
        bad = int(codes.min()) if int(codes.min()) < 0 else int(codes.max())
        raise ValueError(f"a code must be in [0, {2**bits}) to fit {bits} bits, got {bad}")
    places = torch.arange(max(bits, 8), dtype=torch.int64, device=codes.device)
    pieces = []
    for piece in codes.split(CHUNK):
        stream = ((piece.unsqueeze(-1) >> places[:bits]) & 1).flatten()
        octets = F.pad(stream, (0, -len(stream) % 8)).view(-(-len(stream) // 8), 8)
        pieces.append((octets << places[:8]).sum(-1).to(torch.uint8))
    return torch.cat(pieces)


def unpack(packed: Tensor, index: Tensor, bits: int) -> Tensor:
    """Read the codes number ``index``, int64 of its shape, from the result of `pack`."""
    first = index * bits
    byte, shift = first >> 3, first & 7
    reach = -(-(8 - math.gcd(bits, 8) + bits) // 8)  # bytes that one code may lie in
    word = torch.zeros_like(index)
    for k in range(reach):
        octet = packed[(byte + k).clamp(max=packed.shape[0] - 1)]
        word = word + octet.long() * 2 ** (8 * k)
    return torch.bitwise_right_shift(word, shift) & (2**bits - 1)  # ">>" does not export to ONNX


def pack_rows(codes: Tensor, bits: int) -> Tensor:
    """Pack each row of codes as `pack` does, to whole bytes.

    Args:
        codes: ``(rows, width)``, integers in ``[0, 2**bits)``; they are not checked.
        bits: 2, 3, 4 or 8.

    Returns:
        ``(rows, ceil(width bits / 8))`` uint8.
    """
    width = codes.shape[1]
    octets, per_word = _word(bits)
    if per_word == 1:
        return codes.to(torch.uint8, copy=True)
    words = _fill(codes.to(torch.uint8), per_word)
    packed = words.new_zeros(*words.shape[:2], octets)
    for j, code in enumerate(words.unbind(-1)):
        first, inside = divmod(bits * j, 8)
        packed[..., first] |= code << inside  # what is shifted out of a byte is dropped
        if inside + bits > 8:
            packed[..., first + 1] |= code >> 8 - inside
    return packed.flatten(1)[:, : packed_nbytes(width, bits)]


def unpack_rows(packed: Tensor, width: int, bits: int) -> Tensor:
    """Read rows that `pack_rows` has packed.

    Args:
        packed: ``(..., bytes)`` uint8.
        width: Codes of a row.
        bits: Bits of a code: 2, 3, 4 or 8.

    Returns:
        ``(..., width)``, uint8 at 8 bits and int32 at fewer.
    """
    if bits == 8:
        return packed[..., :width]
    octets, per_word = _word(bits)
    rows = _fill(packed.int(), octets)  # ONNX has no arithmetic of bytes
    words = rows[..., 0]
    for k in range(1, octets):
        words = words + rows[..., k] * 256**k
    shifted = [torch.bitwise_right_shift(words, bits * j) for j in range(per_word)]
    return torch.stack(shifted, dim=-1).flatten(-2)[..., :width] & (2**bits - 1)


def _word(bits: int) -> tuple[int, int]:
    """The least number of bytes that whole codes fill, at most 3, and how many codes."""
    total = math.lcm(bits, 8)
    return total // 8, total // bits


def _fill(rows: Tensor, size: int) -> Tensor:
    """Append zeros to rows; return them in parts of ``size``."""
    return F.pad(rows, (0, -rows.shape[-1] % size)).unflatten(-1, (-1, size))


class Stored(NamedTuple):
    """An address that is looked up, not computed: the row numbers of every id, packed.

    Attributes:
        packed: The result of `pack`.
        bits: Bits of a number.
        per_id: Numbers that each id has.
        which: Which of them this is.
    """

    packed: Tensor
    bits: int
    per_id: int = 1
    which: int = 0

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the rows of int64 ``ids`` of any shape."""
        return unpack(self.packed, ids * self.per_id + self.which, self.bits)
