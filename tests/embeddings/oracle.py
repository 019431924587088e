"""What layers are compared with: scikit-learn's MurmurHash3, and formulas in NumPy."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils import murmurhash3_32


def hashed(ids, seed: int) -> np.ndarray:
    """``(n,)`` int64: the hash of each id's eight little-endian bytes."""
    keys = [int(i).to_bytes(8, "little") for i in np.ravel(ids)]
    return np.array([murmurhash3_32(k, seed=seed, positive=True) for k in keys], dtype=np.int64)


def derived_seeds(seed: int, count: int) -> list[int]:
    """Seeds that come from one: hashes of 0, 1, 2, ..."""
    return [int(h) for h in hashed(np.arange(count), seed)]


def check(layer: torch.nn.Module, formula) -> None:
    """Compare all vectors of a layer, its parameters redrawn, with ``formula(state)``."""
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
        vectors = layer(torch.arange(layer.num_embeddings)).numpy()
    state = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    np.testing.assert_allclose(vectors, formula(state), rtol=1e-5, atol=1e-6)


def unpacked(packed: np.ndarray, bits: int, width: int) -> np.ndarray:
    """The first numbers of each row of bytes, a string of bits, least significant first: int64."""
    each = np.unpackbits(packed, axis=-1, count=width * bits, bitorder="little")
    return each.reshape(*packed.shape[:-1], width, bits) @ 2 ** np.arange(bits)


def packed(numbers: np.ndarray, bits: int) -> np.ndarray:
    """The bytes of each row of numbers; see `unpacked`."""
    each = numbers[..., None] >> np.arange(bits) & 1
    each = each.reshape(*numbers.shape[:-1], -1).astype(np.uint8)
    return np.packbits(each, axis=-1, bitorder="little")


FUSE = {
    "add": lambda rows: sum(rows),
    "sum": lambda rows: sum(rows),
    "mult": lambda rows: np.prod(rows, axis=0),
    "concat": np.hstack,
}
"""How rows become one, by the name of the fusion or operation."""
