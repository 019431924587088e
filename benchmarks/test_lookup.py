"""Forward passes, method by method: did a change make one slower?

    pytest benchmarks --benchmark-autosave                  before the change
    pytest benchmarks --benchmark-compare                   after it

Times of different methods come from different minutes here, so compare a method with itself. To
compare methods with each other and with `torch.nn.Embedding`, `memcom bench` lets them take turns.
"""

from __future__ import annotations

import functools

import pytest

from benchmarks.conftest import BATCHES, EMBEDDING_DIM, NUM_EMBEDDINGS
from memcom.benchmark.methods import forward_ways

METHODS = ("nn.Embedding", "memcom", "memcom-bias", "qr", "bch, 2 blocks", "bch, 3 blocks", "hash")


@functools.cache
def ways():
    return forward_ways(NUM_EMBEDDINGS, EMBEDDING_DIM, max(BATCHES))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("path", ["", ", plain"])
@pytest.mark.parametrize("method", METHODS)
def test_lookup(timed, method, path, batch):
    if method == "nn.Embedding" and path:
        pytest.skip("it has one path")
    timed(ways()[method + path], batch)
