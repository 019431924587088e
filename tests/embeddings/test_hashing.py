from __future__ import annotations

import numpy as np
import pytest

import memcom
from tests.embeddings.oracle import check, hashed

N, E = 200, 12
IDS = np.arange(N)


@pytest.mark.parametrize("seed", [0, 11])
def test_hash(seed):
    layer = memcom.HashingTrickEmbedding(N, E, num_buckets=17, seed=seed)
    check(layer, lambda s: s["table"][hashed(IDS, seed) % 17])


def test_hash_by_remainder():
    layer = memcom.HashingTrickEmbedding(N, E, num_buckets=17, seed=None)
    check(layer, lambda s: s["table"][IDS % 17])
    assert "seeds" not in layer.state_dict()


@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_double_hash(fusion):
    layer = memcom.DoubleHashEmbedding(N, E, num_buckets=17, fusion=fusion, seed=4)

    def formula(s):
        a, b = s["table"][hashed(IDS, 4) % 17], s["table"][hashed(IDS, 5) % 17]
        return a + b if fusion == "sum" else np.hstack([a, b])

    check(layer, formula)
