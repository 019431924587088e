"""Ids by descending training frequency, and fixed splits: pure functions on integer arrays.

The random splits draw nothing: a row's part follows from a hash of its (user, item, seed), so a
split is the same on every platform and for every order of the rows in the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memcom.data.containers import TEST, TRAIN, VALID


def mix64(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Scramble integers by a bijection of 64-bit numbers, one for each seed: uint64, same shape.

    The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    """
    golden = 0x9E3779B97F4A7C15
    z = np.asarray(values).astype(np.uint64) + np.uint64((seed + 1) * golden % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True)
class Vocabulary:
    """A renumbered id column.

    Attributes:
        ids: (n,) int64, 0 is the most frequent value in training.
        order: (size,) int64, the old code of every new id: ``old_names[order]`` renames.
        counts: (size,) int64 training frequency, never increasing.
    """

    ids: np.ndarray
    order: np.ndarray
    counts: np.ndarray


def by_frequency(
    codes: np.ndarray, size: int, train: np.ndarray, weight: np.ndarray | None = None
) -> Vocabulary:
    """Renumber codes by descending training frequency; ties keep the old order.

    Args:
        codes: (n,) integers in 0..size-1.
        size: Number of codes.
        train: (n,) bool, the rows that count. Codes without such a row come last.
        weight: (n,) integer observations per row, or None for one each.

    Returns:
        The new ids, the old code of each, and the counts.
    """
    weights = None if weight is None else weight[train]
    counts = np.bincount(codes[train], weights=weights, minlength=size).astype(np.int64)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(size, dtype=np.int64)
    rank[order] = np.arange(size)
    return Vocabulary(rank[codes], order, counts[order])


def encode(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct values of a column, integers or strings, in ascending order.

    Returns int64 codes (n,) and the sorted distinct values: ``uniques[codes]`` is the column.
    """
    import pandas as pd

    codes, uniques = pd.factorize(values, sort=True)
    return codes.astype(np.int64), np.asarray(uniques)


def hash_key(user: np.ndarray, item: np.ndarray, seed: int) -> np.ndarray:
    """Return a reproducible random number, uint64, for each (user, item) pair of integers."""
    return mix64(mix64(user, seed) ^ np.asarray(item).astype(np.uint64), seed)


def split_per_user(
    user: np.ndarray, key: np.ndarray, tie: np.ndarray, *, valid: int = 10, test: int = 20
) -> np.ndarray:
    """Split every user's rows by ascending key: first train, then validation, then test.

    A user with k >= 5 rows gives ``max(1, k * test // 100)`` rows to test and
    ``max(1, k * valid // 100)`` to validation; a user with fewer gives all rows to training.
    With times as key this is the time-ordered split, with `hash_key` the random one.

    Args:
        user: (n,) integers >= 0.
        key: (n,) values to order by.
        tie: (n,) values that order rows of equal key.
        valid: Per cent of a user's rows for validation; 0 for none.
        test: Per cent of a user's rows for test; 0 for none.

    Returns:
        (n,) int8 of TRAIN, VALID, TEST.
    """
    order = np.lexsort((tie, key, user))
    rows = np.bincount(user)
    start = np.cumsum(rows) - rows
    enough = rows >= 5
    tests = np.where(enough & (test > 0), np.maximum(1, rows * test // 100), 0)
    valids = np.where(enough & (valid > 0), np.maximum(1, rows * valid // 100), 0)
    sorted_user = user[order]
    position = np.arange(len(user)) - start[sorted_user]
    from_end = rows[sorted_user] - position
    part = np.full(len(user), TRAIN, dtype=np.int8)
    part[from_end <= (tests + valids)[sorted_user]] = VALID
    part[from_end <= tests[sorted_user]] = TEST
    split = np.empty_like(part)
    split[order] = part
    return split


def split_at_times(time: np.ndarray, *, valid: int = 10, test: int = 20) -> np.ndarray:
    """Split all rows at two moments: oldest to training, then validation, newest to test.

    Rows of one moment stay together, so no training row is as young as a validation row, nor a
    validation row as young as a test row. The parts are therefore only about the asked per cent.
    """
    split = np.zeros(len(time), dtype=np.int8)
    if len(time):
        ordered = np.sort(time)
        split[time >= ordered[len(time) * (100 - valid - test) // 100]] = VALID
        split[time >= ordered[len(time) * (100 - test) // 100]] = TEST
    return split


def split_by_hash(key: np.ndarray, *, valid: int = 10, test: int = 20) -> np.ndarray:
    """Split rows at random, each by its uint64 hash; the parts are about the asked per cent."""
    percentile = key % np.uint64(100)
    split = np.full(len(key), TRAIN, dtype=np.int8)
    split[percentile < test + valid] = VALID
    split[percentile < test] = TEST
    return split


def split_rows(time: np.ndarray | None, rows: int, seed: int) -> np.ndarray:
    """Split rows at two moments, or at random by their position where there are no times."""
    return split_by_hash(mix64(np.arange(rows), seed)) if time is None else split_at_times(time)
