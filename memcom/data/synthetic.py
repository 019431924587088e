"""Interactions with Zipf popularity and a planted low-rank taste, for vocabularies up to 10^8.

Item k (k = 1 is the most popular) is proposed with probability proportional to k^-exponent. Each
user draws some proposals and takes one of them by a softmax over

    strength * <user factors, item factors> / sqrt(rank)

so the tables to be learned are known. Nothing has the size of the vocabulary: popularity is sampled
by rejection-inversion (Hoermann and Derflinger, ACM TOMACS 6(3), 1996), and a factor is a hash of
its id, computed when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from memcom._check import real, shown
from memcom.data.assemble import interactions
from memcom.data.containers import Interactions
from memcom.data.ordering import mix64

MAX_ITEMS = 10**8
_LAZY_FROM = 10**6
_CHUNK = 1 << 15


def sample_zipf(size: int, count: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Draw ranks 0..size-1 with probability proportional to (rank + 1)^-exponent, exactly.

    Args:
        size: Number of ranks.
        count: Number of draws.
        exponent: 0 is uniform, 1 the classical Zipf law.
        rng: Source of randomness.

    Returns:
        (count,) int64.

    Raises:
        ValueError: If size < 1, count < 0 or the exponent is negative or not finite.
    """
    if size < 1 or count < 0 or not 0 <= exponent < np.inf:
        raise ValueError(
            f"size={size}, count={count}, exponent={exponent}: need size >= 1, count >= 0 and a "
            "finite exponent >= 0"
        )
    power = 1.0 - exponent

    # The area under x^-exponent from 1, its inverse, and the density itself.
    def area(x: Any) -> Any:
        return np.log(x) if power == 0 else np.expm1(power * np.log(x)) / power

    def inverse(y: Any) -> Any:
        return np.exp(y) if power == 0 else np.exp(np.log1p(np.maximum(power * y, -1)) / power)

    low, high = area(1.5) - 1.0, area(size + 0.5)
    ranks = np.empty(count, dtype=np.int64)
    todo = np.arange(count)
    while len(todo):
        u = high + rng.random(len(todo)) * (low - high)
        rank = np.clip(np.rint(inverse(u)), 1, size)
        # Accept where u lies in the last h(rank) of the area up to rank + 1/2.
        good = u >= area(rank + 0.5) - np.exp(-exponent * np.log(rank))
        ranks[todo[good]] = rank[good].astype(np.int64) - 1
        todo = todo[~good]
    return ranks


@dataclass(frozen=True)
class Taste:
    """The planted low-rank model: factors by hashing, uniform with mean 0 and variance 1.

    Attributes:
        rank: Number of factors.
        strength: Scale of the affinity in the softmax; 0 leaves popularity alone.
        seed: Seed that picks the model.
    """

    rank: int = 8
    strength: float = 2.0
    seed: int = 0

    def user_factors(self, ids: np.ndarray) -> np.ndarray:
        """Return the factors of planted user numbers of any shape, float32 (*ids.shape, rank)."""
        return self._factors(ids, stream=1)

    def item_factors(self, ids: np.ndarray) -> np.ndarray:
        """Return the factors of popularity ranks (`item_keys`), float32 (*ids.shape, rank)."""
        return self._factors(ids, stream=2)

    def affinity(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return ``strength * <user, item> / sqrt(rank)``: log-odds on top of popularity.

        `users` are planted user numbers, `items` popularity ranks; they broadcast.
        """
        products = np.einsum("...r,...r->...", self.user_factors(users), self.item_factors(items))
        return products * (self.strength / np.sqrt(self.rank))

    def _factors(self, ids: np.ndarray, stream: int) -> np.ndarray:
        place = np.asarray(ids, dtype=np.int64)[..., None] * self.rank + np.arange(self.rank)
        bits = mix64(place, 3 * self.seed + stream) >> np.uint64(40)
        return ((bits.astype(np.float32) + 0.5) / 2**24 - 0.5) * np.float32(12**0.5)


class RankNames:
    """Planted rank of every id, computed when indexed: seen ids first, the others after.

    Args:
        seen: Distinct planted ranks of the ids 0, 1, ...
        size: Number of ids. An id beyond `seen` has the next rank that is not in it.
    """

    def __init__(self, seen: np.ndarray, size: int) -> None:
        self._seen = np.asarray(seen, dtype=np.int64)
        self._gaps = np.sort(self._seen) - np.arange(len(self._seen))
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, ids: Any) -> Any:
        index = np.arange(self._size)[ids] if isinstance(ids, slice) else np.asarray(ids)
        if index.size and (index.min() < -self._size or index.max() >= self._size):
            bad = index.max() if index.max() >= self._size else index.min()
            raise IndexError(f"id {bad} is out of range; valid ids are 0 to {self._size - 1}")
        index = np.where(index < 0, index + self._size, index)
        unseen = index - len(self._seen)
        rank = unseen + np.searchsorted(self._gaps, unseen, side="right")
        if len(self._seen):
            rank = np.where(unseen < 0, self._seen[np.minimum(index, len(self._seen) - 1)], rank)
        return rank[()]


def load_synthetic(
    *,
    num_items: int = 10_000,
    num_users: int = 2_000,
    interactions_per_user: int = 50,
    exponent: float = 1.0,
    rank: int = 8,
    strength: float = 2.0,
    candidates: int = 16,
    seed: int = 0,
) -> Interactions:
    """Make interactions; memory and time follow the rows asked for, not `num_items`.

    Split at random within each user (70 / 10 / 20 per cent). Items without a row are numbered
    after those with one. `item_counts` has one entry an item, but untouched zeros cost
    no memory; above a million items `item_keys` and `item_names` are computed when indexed.

    Args:
        num_items: Size of the vocabulary, 1 to 10^8.
        num_users: Number of users.
        interactions_per_user: Draws for each user; an item drawn twice counts once.
        exponent: Exponent of the popularity, >= 0; 1 is Zipf's law.
        rank: Number of factors of the planted taste.
        strength: Strength of the planted taste; 0 leaves popularity alone.
        candidates: Proposals per draw; more give the taste more weight.
        seed: Seed of draws, taste and split.

    Returns:
        The interactions; `item_keys` are planted popularity ranks (0 = most popular),
        `Taste(rank, strength, seed)` gives the factors of these.

    Raises:
        ValueError: If a size is out of its range.
    """
    real("exponent", exponent, 0, 20)
    real("strength", strength, 0, 1000)
    limits: Sequence[tuple[str, int, int]] = (
        ("num_items", num_items, MAX_ITEMS),
        ("num_users", num_users, MAX_ITEMS),
        ("interactions_per_user", interactions_per_user, MAX_ITEMS),
        ("rank", rank, 1024),
        ("candidates", candidates, 1024),
    )
    for option, value, limit in limits:
        if not 1 <= value <= limit:
            raise ValueError(f"{option} is {shown(value)}; it must be 1 to {limit:,}")
    if num_users * interactions_per_user > 10 * MAX_ITEMS:
        raise ValueError(
            f"num_users={num_users} times interactions_per_user={interactions_per_user} must be "
            f"at most {10 * MAX_ITEMS:,}"
        )
    taste = Taste(rank, strength, seed)
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(num_users), interactions_per_user)
    item = np.empty(len(user), dtype=np.int64)
    for start in range(0, len(user), _CHUNK):
        part = slice(start, start + _CHUNK)
        who = user[part]
        proposed = sample_zipf(num_items, len(who) * candidates, exponent, rng)
        proposed = proposed.reshape(len(who), candidates)
        # The largest of score + Gumbel noise is a draw from the softmax over the scores.
        score = taste.affinity(who[:, None], proposed) + rng.gumbel(size=proposed.shape)
        item[part] = proposed[np.arange(len(who)), score.argmax(axis=1)]
    found = interactions("synthetic", user, item, seed=seed)
    assert found.item_keys is not None
    names: Any = RankNames(found.item_keys, num_items)
    if num_items <= _LAZY_FROM:
        names = names[:]
    counts = np.zeros(num_items, dtype=np.int64)
    counts[: found.num_items] = found.item_counts
    return replace(
        found, num_items=num_items, item_counts=counts, item_keys=names, item_names=names
    )
