"""Groups of ids that share something, held as two arrays instead of a list of lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of ids that share something, largest group first, ids ascending inside a group.

    Attributes:
        num_embeddings: Ids looked at, including those in no group.
        ids: All members, group after group, int64.
        offsets: Start of each group in `ids`, int64, one longer than the number of groups.
    """

    num_embeddings: int
    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(f"group {index} is out of range for {len(self)} groups")
        index %= len(self)
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    @property
    def sizes(self) -> np.ndarray:
        """Members of each group, int64, all at least 2."""
        return np.diff(self.offsets)

    @property
    def first(self) -> np.ndarray:
        """Lowest id of each group, int64."""
        return self.ids[self.offsets[:-1]]

    @property
    def num_pairs(self) -> int:
        """Unordered pairs of ids that are in the same group."""
        return int((self.sizes * (self.sizes - 1) // 2).sum())

    @property
    def num_distinct(self) -> int:
        """Groups plus the ids that are alone."""
        return self.num_embeddings - len(self.ids) + len(self)


def group_equal(labels: np.ndarray, ids: np.ndarray | None = None) -> Groups:
    """Group positions that hold equal labels, or the `ids` at these positions."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(labels)])
    bounds = np.r_[starts, len(labels)].astype(np.int64)
    sizes = np.diff(bounds)
    shared = np.flatnonzero(sizes > 1)
    members = order if ids is None else ids[order]
    first = members[bounds[shared]]
    shared = shared[np.lexsort((first, -sizes[shared]))]
    offsets = np.r_[0, np.cumsum(sizes[shared])].astype(np.int64)
    position = np.arange(offsets[-1]) + np.repeat(bounds[shared] - offsets[:-1], sizes[shared])
    return Groups(len(labels), members[position].astype(np.int64), offsets)
