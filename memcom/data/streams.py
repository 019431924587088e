"""Ids of a stream: numbered by what was frequent in the past, with room for what is yet to come.

A table is built before the stream has ended, so its ids cannot be sorted by a frequency that is
not known yet. `StreamVocabulary` numbers

    0 .. k-1        the k values of the past, by descending frequency at that time
    k .. n-r-1      values that came later, in the order of their arrival
    n-r .. n-1      shared: once the others are given away, a new value is hashed here

An id once given stays, whatever becomes frequent later: a row must not change its owner. So the
order grows stale, which is what a method that relies on it has to live with. Nothing is refused
and nothing is dropped; only values in the shared range can be confused with each other.
"""

from __future__ import annotations

import numpy as np

from memcom.data.ordering import mix64


class StreamVocabulary:
    """Ids for integer values that keep arriving.

    Args:
        past: (n,) int64 values of the past, with repetitions; their frequency orders the ids.
        capacity: number of ids in all, the table's `num_embeddings`.
        shared: how many of these are for values that find no id of their own, at least 1.
        seed: of the hash.

    Raises:
        ValueError: if capacity does not hold the past and the shared ids.
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
        # Of each known value, ascending, and its id.
        self._values = values
        self._ids = np.empty(len(values), dtype=np.int64)
        self._ids[np.argsort(-counts, kind="stable")] = np.arange(len(values))

    @property
    def num_known(self) -> int:
        """Values that have an id of their own; their ids are 0 to ``num_known - 1``."""
        return len(self._values)

    @property
    def num_left(self) -> int:
        """Ids that can still be given away."""
        return self.capacity - self.shared - self.num_known

    def knows(self, values: np.ndarray) -> np.ndarray:
        """Whether each value has an id of its own.

        Args:
            values: int64 of any shape.

        Returns:
            Boolean of that shape.
        """
        return self._values[self._place(values)] == values if self.num_known else values != values

    def ids(self, values: np.ndarray) -> np.ndarray:
        """Ids of values; one without an id of its own is hashed to a shared one.

        Args:
            values: int64 of any shape.

        Returns:
            int64 of that shape, in 0..capacity-1. Nothing is learnt: see `learn`.
        """
        values = np.asarray(values, dtype=np.int64)
        spare = (mix64(values, self.seed) % np.uint64(self.shared)).astype(np.int64)
        fallback = self.capacity - self.shared + spare
        if not self.num_known:
            return fallback
        return np.where(self.knows(values), self._ids[self._place(values)], fallback)

    def learn(self, values: np.ndarray) -> int:
        """Give the unknown among these an id of their own, in order, as long as there are some.

        Args:
            values: (n,) int64 in the order of arrival.

        Returns:
            How many were given one.
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
        """Where each value is among the known ones, or would be, kept within range."""
        return np.minimum(np.searchsorted(self._values, values), self.num_known - 1)
