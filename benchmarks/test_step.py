"""Training steps (forward, backward, update), method by method; see test_lookup.py for how."""

from __future__ import annotations

import functools

import pytest

from benchmarks.conftest import BATCHES, EMBEDDING_DIM, NUM_EMBEDDINGS
from memcom.benchmark.steps import adam_ways, sgd_ways

GROUPS = {"SGD": sgd_ways, "Adam": adam_ways}
STEPS = [
    ("SGD", "nn.Embedding, sparse SGD"),
    ("SGD", "memcom, SGD"),
    ("SGD", "memcom, SGD, sparse gradients"),
    ("Adam", "nn.Embedding, SparseAdam"),
    ("Adam", "memcom, lazy Adam"),
    ("Adam", "memcom, lazy Adam, sparse gradients"),
]


@functools.cache
def ways(group):
    return GROUPS[group](NUM_EMBEDDINGS, EMBEDDING_DIM, max(BATCHES))


@pytest.mark.parametrize("batch", BATCHES[1:])
@pytest.mark.parametrize(("group", "step"), STEPS)
def test_step(timed, group, step, batch):
    timed(ways(group)[step], batch)
