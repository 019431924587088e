from __future__ import annotations

import numpy as np

import memcom
from tests.embeddings.oracle import check

N, E = 200, 12
IDS = np.arange(N)


def test_full():
    check(memcom.FullEmbedding(N, E), lambda s: s["weight"])


def test_small_dim():
    layer = memcom.SmallDimEmbedding(N, E, inner_dim=5)
    check(layer, lambda s: np.hstack([s["table"], np.zeros((N, E - 5))]))


def test_truncate():
    layer = memcom.TruncatedEmbedding(N, E, num_kept=20)
    check(layer, lambda s: s["table"][np.minimum(IDS, 20)])
