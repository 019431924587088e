"""Addresses: pure integer functions from an id to the row it reads.

Almost every compressor here is *address -> look up -> fuse*, and almost every address is one digit
of the id, written in some number system::

    row(i) = (i div divisor) mod modulus

====================  ==================================================================
hashing by remainder  ``Digit(m)``: i mod m
the id itself         ``Digit(n)``
quotient              ``Digit(ceil(n / m), divisor=m)``: i div m
mixed radix           ``Digit(m_j, divisor=m_1 * ... * m_(j-1))``
Chinese remainder     ``Digit(m_j)`` with pairwise coprime m_j
binary code block     ``Digit(2**t, divisor=2**(t*j))``, or every ``stride``-th bit
random hashing        any of these, applied to a seeded hash of the id instead of the id
====================  ==================================================================

All of it is 64-bit integer arithmetic without overflow: exact for ids up to 2^40, and the same on
every device and platform. Nothing here depends on tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from memcom._annotations import checked
from memcom._check import whole

MAX_NUM_EMBEDDINGS = 2**40
HASH_BITS = 32

_MASK = 0xFFFFFFFF
_num_modes = torch._C._len_torch_dispatch_stack
_in_transform = torch._C._are_functorch_transforms_active


class Address(Protocol):
    """Function from ids to rows: int64 of any shape -> int64 of the same shape."""

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the rows read by ``ids``."""
        ...


class DerivedSeed(NamedTuple):
    """The seed that follows from another one: ``murmur3(number, seed)``.

    Attributes:
        seed: A 0-d int64 tensor.
        number: Which one that follows, from 0 on.
    """

    seed: Tensor
    number: int

    def value(self) -> Tensor:
        """Return the seed as a 0-d int64 tensor."""
        return murmur3(torch.full_like(self.seed, self.number), self.seed)


class Digit(NamedTuple):
    """One digit of an id: ``(key(i) div divisor) mod modulus``.

    Attributes:
        modulus: Number of rows addressed; rows lie in ``[0, modulus)``.
        divisor: Place value of the digit.
        stride: 1 for a plain digit. ``s > 1`` reads every s-th bit, from bit ``log2(divisor)`` on
            (the "skip" strategy of binary codes); ``divisor`` and ``modulus`` are powers of two.
        seed: None for a digit of the id; a 0-d int64 tensor for one of `murmur3(i, seed)`, or a
            seed that follows from one. It is a tensor because seeds are part of a layer's saved
            state.
    """

    modulus: int
    divisor: int = 1
    stride: int = 1
    seed: Tensor | DerivedSeed | None = None

    def __call__(self, ids: Tensor) -> Tensor:
        """Return rows in ``[0, modulus)`` for int64 ``ids`` of any shape."""
        key = ids if self.seed is None else self.hashed(ids)
        if self.stride > 1:
            return strided_bits(key, self.divisor, self.modulus, self.stride)
        if self.divisor > 1:
            key = key // self.divisor  # integers all the way, in an exported graph too
        return torch.remainder(key, self.modulus)

    def hashed(self, ids: Tensor) -> Tensor:
        """Return the hashes that the digit is one of, where there is a seed."""
        assert self.seed is not None
        return murmur3(ids, self.seed.value() if isinstance(self.seed, DerivedSeed) else self.seed)


class Signature(NamedTuple):
    """A hash of some of the bytes that an id has: ids that are alike in these share a row.

    Attributes:
        modulus: Number of rows addressed.
        keys: uint8 ``(num_embeddings, K)``.
        picks: Which of the K bytes count; at most 7, whose digits to base 256 are hashed.
        seed: The seed of the hash; ``picks`` follow from the one it is derived from.
    """

    modulus: int
    keys: Tensor
    picks: tuple[int, ...]
    seed: DerivedSeed

    def __call__(self, ids: Tensor) -> Tensor:
        """Return rows in ``[0, modulus)`` for int64 ``ids`` of any shape."""
        code = torch.zeros_like(ids)
        for pick in self.picks:
            code = code * 256 + self.keys[ids, pick]
        return torch.remainder(murmur3(code, self.seed.value()), self.modulus)


class Clamp(NamedTuple):
    """``min(i, last)``: ids below ``last`` keep their own row, all others share row ``last``."""

    last: int

    def __call__(self, ids: Tensor) -> Tensor:
        """Return rows in ``[0, last]`` for int64 ``ids`` of any shape."""
        return ids.clamp(max=self.last)


def mixed_radix_digits(radices: Sequence[int]) -> list[Digit]:
    """Return the digits of an id in the mixed radix system ``radices``, least significant first.

    Ids below ``prod(radices)`` are determined by their digits (Shi et al. 2020, section 4,
    "generalized quotient-remainder").
    """
    places = [math.prod(radices[:j]) for j in range(len(radices))]
    return [Digit(m, divisor=p) for m, p in zip(radices, places, strict=True)]


@checked
def binary_code_digits(
    code_bits: int, block_bits: int, *, strategy: str = "succession", seed: Tensor | None = None
) -> list[Digit]:
    """Cut a ``code_bits``-bit binary code into ``ceil(code_bits / block_bits)`` blocks.

    ``"succession"`` takes runs of ``block_bits`` consecutive bits, least significant first.
    ``"skip"`` interleaves: of B blocks, block j holds bits j, j+B, j+2B, ... A block has 2 to the
    power of its bits rows (Yan et al. 2021, section 3).
    """
    whole("code_bits", code_bits, 0, 64)
    whole("block_bits", block_bits, 1, 64)
    blocks = -(-code_bits // block_bits)
    if strategy == "succession":
        widths = [min(block_bits, code_bits - j * block_bits) for j in range(blocks)]
        return [Digit(2**w, divisor=2 ** (j * block_bits), seed=seed) for j, w in enumerate(widths)]
    if strategy == "skip":
        widths = [len(range(j, code_bits, blocks)) for j in range(blocks)]
        return [Digit(2**w, divisor=2**j, stride=blocks, seed=seed) for j, w in enumerate(widths)]
    raise ValueError(f"strategy must be 'succession' or 'skip', got {strategy!r}")


def strided_bits(key: Tensor, divisor: int, modulus: int, stride: int) -> Tensor:
    """Return the number of every ``stride``-th bit of ``key``, from bit ``log2(divisor)`` on."""
    start, width = divisor.bit_length() - 1, modulus.bit_length() - 1
    row = torch.zeros_like(key)
    for k in range(width):
        row = row | (((key >> (start + k * stride)) & 1) << k)
    return row


def murmur3(ids: Tensor, seed: Tensor | int) -> Tensor:
    """Hash each id's eight little-endian bytes by MurmurHash3_x86_32.

    Constants and structure: A. Appleby, MurmurHash3 (public domain). Every product stays within
    int64: a 32-bit word times a constant taken as *signed* 32-bit is below 2^63 in magnitude, and
    its low 32 bits are those of the unsigned product.

    Args:
        ids: int64 tensor of any shape, values in ``[0, 2**63)``.
        seed: Integer in ``[0, 2**32)``, or an int64 tensor that broadcasts against ``ids``.

    Returns:
        int64 tensor of the same shape, values in ``[0, 2**32)``.
    """
    state = torch.zeros_like(ids) + seed
    for word in (ids & _MASK, ids >> 32):
        word = _multiply(_rotate_left(_multiply(word, 0xCC9E2D51), 15), 0x1B873593)
        state = (_rotate_left(state ^ word, 13) * 5 + 0xE6546B64) & _MASK
    state = state ^ 8  # length of the key in bytes
    state = _multiply(state ^ (state >> 16), 0x85EBCA6B)
    state = _multiply(state ^ (state >> 13), 0xC2B2AE35)
    return state ^ (state >> 16)


def _multiply(word: Tensor, constant: int) -> Tensor:
    signed = constant - 2**32 if constant >= 2**31 else constant
    return (word * signed) & _MASK


def _rotate_left(word: Tensor, bits: int) -> Tensor:
    return ((word << bits) & _MASK) | (word >> (32 - bits))


def check_ids(ids: Tensor, num_embeddings: int) -> Tensor:
    """Check that ids lie in ``[0, num_embeddings)``; return them as int64.

    On the CPU a bad id raises at once, under ``vmap`` too. A graph of ``make_fx`` holds the check
    as one operator, which raises when the graph runs. Under ``torch.compile`` and ``torch.export``,
    and on CUDA (where reading a value back would stall the stream), the check is an asynchronous
    in-graph assertion: the program stops later than the call, with an error that does not name the
    id. On the meta device and in a ``FakeTensorMode`` nothing is checked.

    Args:
        ids: int32 or int64 tensor of any shape.
        num_embeddings: One more than the largest valid id.

    Returns:
        The ids as an int64 tensor.

    Raises:
        TypeError: ``ids`` is not a tensor, or not int32 or int64.
        IndexError: An id is out of range; the message names it and the valid range.
    """
    require_tensor(ids)
    if ids.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"ids must be int32 or int64, got {ids.dtype}")
    if torch.compiler.is_compiling():
        _assert_inside(ids, num_embeddings)
    elif is_traced(ids):
        return _checked_ids(ids, num_embeddings)
    else:
        _refuse_outside(ids, num_embeddings)
    return ids.long()


def is_traced(ids: Tensor) -> bool:
    """Tell whether a graph, a mode or a transform of torch is at work, so that shapes are fixed."""
    if torch.compiler.is_compiling() or ids.is_meta or type(ids) is not Tensor:
        return True
    return bool(_num_modes() or _in_transform())


def lacks_values(tensor: Tensor) -> bool:
    """Tell whether a tensor is a shape only: on the meta device, or made in a FakeTensorMode."""
    return tensor.is_meta or hasattr(tensor, "fake_mode")


def require_tensor(ids: object, *stand_ins: type) -> None:
    """Raise TypeError unless ``ids`` is a tensor, or one of the types that stand in for one."""
    if not isinstance(ids, (Tensor, *stand_ins)):
        raise TypeError(f"ids must be an int32 or int64 tensor, got {_kind(ids)}")


def _kind(ids: object) -> str:
    kind = type(ids).__name__
    if isinstance(ids, (list, tuple, range, int)):
        return f"{kind}; pass torch.tensor(ids)"
    return f"{kind}; pass torch.from_numpy(ids)" if kind == "ndarray" else kind


def _refuse_outside(ids: Tensor, num_embeddings: int) -> None:
    if ids.is_cuda:
        _assert_inside(ids, num_embeddings)
    elif not lacks_values(ids) and ids.numel():
        low, high = (int(x) for x in torch.aminmax(ids))
        if low < 0 or high >= num_embeddings:
            bad = low if low < 0 else high
            raise IndexError(f"id {bad} is out of range: ids must be in [0, {num_embeddings})")


def _assert_inside(ids: Tensor, num_embeddings: int) -> None:
    inside = ((ids >= 0) & (ids < num_embeddings)).all()
    torch._assert_async(inside, f"an id is outside [0, {num_embeddings})")


# The check as an operator: transforms, modes and traces of torch take it whole, without its values.
@torch.library.custom_op("memcom::checked_ids", mutates_args=())
def _checked_ids(ids: Tensor, num_embeddings: int) -> Tensor:
    _refuse_outside(ids, num_embeddings)
    return ids.to(torch.int64, copy=True)


@_checked_ids.register_fake
def _(ids: Tensor, num_embeddings: int) -> Tensor:
    return torch.empty_like(ids, dtype=torch.int64)


@_checked_ids.register_vmap
def _(
    info: object, in_dims: tuple[int | None, ...], ids: Tensor, num_embeddings: int
) -> tuple[Tensor, int | None]:
    return _checked_ids(ids, num_embeddings), in_dims[0]
