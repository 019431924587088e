"""Arguments of compressors: checks, the sizes a budget can choose from, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from memcom._check import choice as choice
from memcom._check import flag as flag
from memcom._check import real as real
from memcom._check import whole as whole


class Sizes(NamedTuple):
    """Sizes one compressor can take, from small to large.

    Attributes:
        scales: Ascending integers, one for each size.
        arguments: The constructor's keyword arguments at a scale.
        floor: Why the smallest size is no smaller, as a clause.
    """

    scales: Sequence[int]
    arguments: Callable[[int], dict[str, Any]]
    floor: str

    @classmethod
    def of(cls, option: str, scales: Sequence[int], floor: str) -> Sizes:
        """Return sizes of which each is the value of one option."""
        return cls(scales, lambda scale: {option: scale}, floor)


def group_count(embedding_dim: int, num_groups: int) -> int:
    """Return ``num_groups`` if it divides ``embedding_dim``, else list the divisors in an error."""
    whole("num_groups", num_groups, 1, embedding_dim)
    if embedding_dim % num_groups:
        raise ValueError(
            f"embedding_dim {embedding_dim} must split into equal parts, so the number of parts "
            f"is one of {divisors(embedding_dim)}, got {num_groups}"
        )
    return num_groups


def divisors(number: int) -> list[int]:
    """Divisors of a positive integer, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def split_width(embedding_dim: int, parts: int) -> list[int]:
    """Widths of ``parts`` pieces that concatenate to ``embedding_dim``, as equal as possible."""
    if embedding_dim < parts:
        raise ValueError(f"embedding_dim must be >= {parts} to concatenate, got {embedding_dim}")
    return [(embedding_dim + parts - 1 - j) // parts for j in range(parts)]


def fusion_widths(embedding_dim: int, parts: int, fusion: str) -> list[int]:
    """Width of each of ``parts`` tables whose rows are fused to ``embedding_dim`` coordinates."""
    return split_width(embedding_dim, parts) if fusion == "concat" else [embedding_dim] * parts


def factor_std(std: float, parts: int, fusion: str) -> float:
    """Standard deviation of each of ``parts`` independent rows whose fusion has ``std``.

    Variances add under a sum and multiply under a product of zero-mean rows.
    """
    return {"sum": std / parts**0.5, "mult": std ** (1 / parts), "concat": std}[fusion]
