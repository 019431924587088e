"""Ids of a stream: numbered by frequency in the past, with room for values that come later.

A table is built before the stream has ended, so its ids cannot be sorted by a frequency that is not
known yet. `StreamVocabulary` numbers

    0 .. k-1        the k values of the past, by descending frequency at that time
    k .. n-r-1      values that came later, in the order of their arrival
    n-r .. n-1      shared: once the others are given away, a new value is hashed here

An id stays with its value even if other values become frequent later, because a row must keep its
meaning. So the order grows stale, and methods that rely on it see that. No value is refused or
dropped; only values in the shared range can be confused with each other.
"""

from __future__ import annotations

import numpy as np

from memcom.data.ordering import mix64


class StreamVocabulary:
    """Ids for integer values that keep arriving.

    Args:
        past: (n,) int64 values of the past, with repetitions; their frequency orders the ids.
        capacity: Number of ids, the table's `num_embeddings`.
        shared: Number of ids, at least 1, for values that find no free id.
        seed: Seed of the hash.

    Raises:
        ValueError: If capacity does not hold the past and the shared ids.
    """

    def __init__(self, past: np.ndarray, capacity: int, *, shared: int = 1, seed: int = 0) -> None:
        values, counts = np.unique(np.asarray(past, dtype=np.int64), return_counts=True)
        if shared < 1 or len(values) + shared > capacity:
            raise ValueError(
                f"capacity is {capacity}; it must hold the {len(values)} values of the past and "
                f"{shared} shared ids, of which there must be at least 1"
            )
        self.capacity, self.shared, self.seed = capacity, shared, seed
        self.num_past = len(values)
        # Known values, ascending, and the id of each.
        self._values = values
        self._ids = np.empty(len(values), dtype=np.int64)
        self._ids[np.argsort(-counts, kind="stable")] = np.arange(len(values))

    @property
    def num_known(self) -> int:
        """Values with a private id; their ids are 0 to ``num_known - 1``."""
        return len(self._values)

    @property
    def num_left(self) -> int:
        """Ids that can still be given away."""
        return self.capacity - self.shared - self.num_known

    def knows(self, values: np.ndarray) -> np.ndarray:
        """Return whether each value has a private id: bool, of the shape of `values`."""
        return self._values[self._place(values)] == values if self.num_known else values != values

    def ids(self, values: np.ndarray) -> np.ndarray:
        """Return the ids of values; a value without a private id is hashed to a shared one.

        Args:
            values: int64 of any shape.

        Returns:
            int64 of that shape, in 0..capacity-1. Nothing is learned: see `learn`.
        """
        values = np.asarray(values, dtype=np.int64)
        spare = (mix64(values, self.seed) % np.uint64(self.shared)).astype(np.int64)
        fallback = self.capacity - self.shared + spare
        if not self.num_known:
            return fallback
        return np.where(self.knows(values), self._ids[self._place(values)], fallback)

    def learn(self, values: np.ndarray) -> int:
        """Give unknown values a private id, in the order of arrival, as long as ids are left.

        Args:
            values: (n,) int64 in the order of arrival.

        Returns:
            The number of values that got one.
        """
        values = np.asarray(values, dtype=np.int64)
        unknown = values[~self.knows(values)]
        distinct, first = np.unique(unknown, return_index=True)
        arrived = distinct[np.argsort(first)][: max(self.num_left, 0)]
        ids = self.num_known + np.arange(len(arrived))
        self._values = np.concatenate([self._values, arrived])
        order = np.argsort(self._values)
        self._ids = np.concatenate([self._ids, ids])[order]
        self._values = self._values[order]
        return len(arrived)

    def _place(self, values: np.ndarray) -> np.ndarray:
        """Position of each value among the known ones, or where it would be, kept in range."""
        return np.minimum(np.searchsorted(self._values, values), self.num_known - 1)
