"""Birthday counts: the collisions that chance alone gives when ids are hashed into codes.

A *code* is everything an id reads: one row number per table (or several rows of one table). Where
every address is an independent uniform hash, `n` ids and `m` equally likely codes give

    expected distinct codes   m (1 - (1 - 1/m)^n)
    expected colliding pairs  n (n - 1) / (2 m)
    P(at least one pair)      1 - prod_{i<n} (1 - i/m)

The unusual part: a table read `k` times by an order-blind fusion (a sum) has codes that are
*multisets* of rows, and those are not equally likely: {a, a, a} has one ordering, {a, b, c} six.
`code_classes` lists them by pattern, so the expectations below stay exact for sums as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import comb, exp, expm1, factorial, log1p, perm, prod, sqrt

import numpy as np

from memcom._annotations import checked
from memcom._check import shown, whole

CodeClass = tuple[int, Fraction]
"""(number of codes of one kind, probability that a random id has one particular of them).

Exact, because wide layers have more codes than a float can count.
"""

MAX_READS = 2**18
"""Reads of one table that codes are counted for."""
_MOST_READS = 24  # beyond it there are too many patterns of repeated rows to list


@dataclass(frozen=True)
class Expected:
    """Collisions under uniform random hashing, with the range that holds 95 % of random hashes.

    Attributes:
        distinct: Expected number of different codes among the ids.
        distinct_interval: 95 % range of that number (normal, asymptotic variance).
        pairs: Expected number of unordered pairs of ids with the same code.
        pairs_interval: 95 % range of that number (see `expected_collisions`).
        any_pair: Probability that at least one pair has the same code.
    """

    distinct: float
    distinct_interval: tuple[float, float]
    pairs: float
    pairs_interval: tuple[float, float]
    any_pair: float


@checked
def distinct_codes(num_rows: int, reads: int, *, ordered: bool) -> int:
    """Count the vectors that `reads` reads of one table can tell apart.

    With an order-sensitive fusion (concatenation), or with a table for every read, each sequence of
    rows counts: `num_rows ** reads`. One shared table and an order-blind fusion (sum, product,
    maximum) see only the multiset: `C(num_rows + reads - 1, reads)`. Binary codes of 24 bits in
    blocks of 8, shared and summed: 2,829,056 vectors for 16,777,216 ids.

    Args:
        num_rows: Rows of the table, at least 1.
        reads: Rows read per id, at least 1.
        ordered: Whether the fusion sees which read a row came from.

    Returns:
        An exact (unbounded) integer.

    Raises:
        ValueError: If `num_rows` or `reads` is below 1, or `reads` above `MAX_READS`.
    """
    whole("num_rows", num_rows, 1)
    whole("reads", reads, 1, MAX_READS)
    return num_rows**reads if ordered else comb(num_rows + reads - 1, reads)


@checked
def birthday_pairs(n: float | np.ndarray, levels: float) -> float:
    """Compute the expected colliding pairs, `sum n (n - 1) / (2 levels)`, of one group or many.

    Args:
        n: Members of each group (a scalar or an array of group sizes).
        levels: Equally likely values each member may take, for example 256 for 8-bit multipliers.

    Returns:
        The expected number of pairs that take the same value inside a group.

    Raises:
        ValueError: If `levels` is below 1.
    """
    if not levels >= 1:
        raise ValueError(f"levels must be >= 1, got {levels}")
    sizes = np.asarray(n, dtype=np.float64)
    if sizes.size and not (sizes.min() >= 0 and sizes.max() <= 2**62):
        raise ValueError(f"n must be >= 0 and <= 2**62, got {shown(n)}")
    return float((sizes * (sizes - 1)).sum() / (2 * levels))


def code_classes(num_rows: int, reads: int = 1, *, ordered: bool = True) -> list[CodeClass]:
    """List the codes of one table by how likely each is under uniform hashing.

    Without order, codes are multisets of rows, and those that repeat a row are rarer (taken as
    equally likely above 24 reads). Numbers times probabilities sum to 1.
    """
    total = distinct_codes(num_rows, reads, ordered=True)
    if ordered or reads == 1:
        return [(total, Fraction(1, total))]
    if reads > _MOST_READS:
        multisets = distinct_codes(num_rows, reads, ordered=False)
        return [(multisets, Fraction(1, multisets))]
    classes = []
    for pattern in _partitions(reads, reads):  # (2, 1): one row twice and another once
        orderings = factorial(reads) // prod(factorial(times) for times in pattern)
        alike = prod(factorial(pattern.count(times)) for times in set(pattern))
        classes.append((perm(num_rows, len(pattern)) // alike, Fraction(orderings, total)))
    return [each for each in classes if each[0]]


def _partitions(total: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Yield the ways to write `total` as a sum of non-increasing positive parts."""
    if total == 0:
        yield ()
    for part in range(min(total, largest), 0, -1):
        for rest in _partitions(total - part, part):
            yield (part, *rest)


def combine_classes(tables: Iterable[list[CodeClass]]) -> list[CodeClass]:
    """Combine the code classes of independent tables: numbers and probabilities multiply."""
    combined: list[CodeClass] = [(1, Fraction(1))]
    for classes in tables:
        combined = [(a * b, p * q) for a, p in combined for b, q in classes]
    return combined


@checked
def expected_collisions(
    num_embeddings: int, num_codes: int | None = None, *, classes: list[CodeClass] | None = None
) -> Expected:
    """Compute birthday expectations for `num_embeddings` ids thrown at random into codes.

    The expectations of `distinct` and `pairs` are exact. The range of `pairs` is Poisson where ids
    are fewer than codes, else a gamma shifted to the fewest pairs possible (both have the exact
    mean; the gamma is the chi-square law of full buckets). `any_pair` is exact for equally likely
    codes and up to 10^7 ids, else the Poisson value `1 - exp(-pairs)`.

    Args:
        num_embeddings: Number of ids, n.
        num_codes: Number of equally likely codes, m.
        classes: Codes that are not equally likely, as pairs of (number of such codes, probability
            of each); instead of `num_codes`.

    Returns:
        Expectations with 95 % ranges.

    Raises:
        ValueError: If `num_embeddings` is negative, or not exactly one of `num_codes` and
            `classes` is given, or `num_codes` is below 1.
    """
    whole("num_embeddings", num_embeddings, 0, 2**62)
    if (num_codes is None) == (classes is None):
        raise ValueError("give exactly one of num_codes and classes")
    if classes is None:
        assert num_codes is not None
        classes = code_classes(num_codes)
    n = num_embeddings
    parts = [(float(number * p), float(p)) for number, p in classes]  # (mass, probability)
    match = sum(mass * p for mass, p in parts)
    pairs = n * (n - 1) / 2 * match
    distinct = sum(mass * _per_mass(n, p) for mass, p in parts)
    variance = sum(mass * exp(-n * p) * (-expm1(-n * p) / p if p else n) for mass, p in parts)
    variance -= n * sum(mass * exp(-n * p) for mass, p in parts) ** 2
    half = 1.96 * sqrt(max(variance, 0.0))
    most = float(min(n, sum(number for number, _ in classes)))
    return Expected(
        distinct=distinct,
        distinct_interval=(max(distinct - half, min(n, 1)), min(distinct + half, most)),
        pairs=pairs,
        pairs_interval=_pairs_interval(n, match, pairs),
        any_pair=_any_pair(n, classes, pairs),
    )


def _per_mass(n: int, p: float) -> float:
    """Chance that a code of probability `p` occurs among `n` ids, divided by `p`."""
    if p >= 1:
        return float(min(n, 1))
    return -expm1(n * log1p(-p)) / p if p else float(n)


def _pairs_interval(n: int, match: float, pairs: float) -> tuple[float, float]:
    """Range that holds 95 % of pair counts; `match` is the chance that two ids agree."""
    if n < 2 or match >= 1:
        return pairs, pairs
    from scipy.stats import gamma, poisson

    if n * match <= 1:
        low, high = poisson.ppf((0.025, 0.975), pairs)
    else:
        fewest, scale = n * (n * match - 1) / 2, (n - 1) * match
        shape = n * (1 - match) / (2 * scale)  # mean: pairs - fewest = n (1 - match) / 2
        low, high = gamma.ppf((0.025, 0.975), shape, loc=fewest, scale=scale)
    return float(low), float(high)


def _any_pair(n: int, classes: list[CodeClass], pairs: float) -> float:
    """Probability of at least one pair."""
    codes = sum(number for number, _ in classes)
    if n > codes:
        return 1.0
    if len(classes) > 1 or n > 10**7:
        return -expm1(-pairs)
    none = float(np.log1p(-np.arange(n) * float(Fraction(1, codes))).sum())
    return -expm1(none)
