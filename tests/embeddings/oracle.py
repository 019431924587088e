"""Hashes by scikit-learn's MurmurHash3, to compare the layers' own with."""

from __future__ import annotations

import numpy as np
from sklearn.utils import murmurhash3_32


def hashed(ids, seed: int) -> np.ndarray:
    """``(n,)`` int64: the hash of each id's eight little-endian bytes."""
    keys = [int(i).to_bytes(8, "little") for i in np.ravel(ids)]
    return np.array([murmurhash3_32(k, seed=seed, positive=True) for k in keys], dtype=np.int64)


def derived_seeds(seed: int, count: int) -> list[int]:
    """Seeds that come from one: hashes of 0, 1, 2, ..."""
    return [int(h) for h in hashed(np.arange(count), seed)]
