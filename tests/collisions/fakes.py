"""Layers given by their addresses and vectors, and pairs of ids found by comparing all."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch


class Fake(torch.nn.Module):
    """A layer given by its addresses (a dict of NumPy arrays, one row per id) and its vectors."""

    def __init__(self, addresses, vectors=None, **state):
        super().__init__()
        self._addresses = {k: torch.as_tensor(v).long() for k, v in addresses.items()}
        self.num_embeddings = len(next(iter(self._addresses.values())))
        self._vectors = None if vectors is None else torch.as_tensor(vectors)
        for name, value in state.items():
            self.register_buffer(name, torch.as_tensor(value))

    def addresses(self, ids):
        return {k: v[ids] for k, v in self._addresses.items()}

    def materialize(self):
        return self._vectors

    def forward(self, ids):
        return self._vectors[ids]


def with_vectors(vectors):
    return Fake({"table": np.arange(len(vectors))}, vectors)


def memcom_fake(values, buckets, bias=None, table=None):
    ids = np.arange(len(values))
    addresses = {"table": ids % buckets, "multiplier": ids}
    state = {"multiplier": np.asarray(values, np.float32)[:, None]}
    if bias is not None:
        addresses["bias"] = ids
        state["bias"] = np.asarray(bias, np.float32)[:, None]
    return Fake(addresses, table=np.ones((buckets, 4)) if table is None else table, **state)


def brute_pairs(emb):
    """Pairs of ids with equal addresses everywhere, by comparing all of them."""
    read = emb.addresses(torch.arange(emb.num_embeddings))
    rows = [str([v[i].tolist() for v in read.values()]) for i in range(emb.num_embeddings)]
    return [(i, j) for i, j in combinations(range(len(rows)), 2) if rows[i] == rows[j]]
