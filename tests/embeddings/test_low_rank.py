from __future__ import annotations

import numpy as np

import memcom
from tests.embeddings.oracle import check

N, E = 200, 12
IDS = np.arange(N)


def test_low_rank():
    check(memcom.LowRankEmbedding(N, E, rank=3), lambda s: s["factor"] @ s["projection"])
