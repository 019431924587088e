"""Blocked top-k against a sort of the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom.kernels.topk import topk


def whole(queries, table, k, seen):
    scores = queries.numpy() @ table.numpy().T
    for row, items in zip(scores, seen, strict=True):
        row[items] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 7),
    st.integers(1, 3000),
    st.integers(1, 40),
    st.sampled_from([1, 64, 1000, 32768]),
    st.integers(1, 5),
    st.booleans(),
)
def test_it_is_the_sort_of_all_scores(users, items, k, block_items, block_queries, hidden):
    k = min(k, items)
    rng = np.random.default_rng(items)
    block_items = max(block_items, items // 20)
    queries = torch.from_numpy(rng.normal(size=(users, 4)))
    table = torch.from_numpy(rng.normal(size=(items, 4)))
    seen = [rng.choice(items, rng.integers(0, items + 1), replace=False) for _ in range(users)]
    seen = seen if hidden else [s[:0] for s in seen]
    offsets = torch.tensor([0, *np.cumsum([len(s) for s in seen])])
    exclude = offsets, torch.from_numpy(np.concatenate([*seen, np.zeros(0, np.int64)]))
    sizes = {"block_items": block_items, "block_queries": block_queries}
    scores, ids = topk(queries, table, k, exclude=exclude if hidden else None, **sizes)
    expected, order = whole(queries, table, k, seen)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-12)
    real = np.isfinite(expected)
    assert np.array_equal(ids.numpy()[real], order[real])


def test_items_may_be_a_compressed_layer():
    layer = memcom.MEmComEmbedding(5000, 16, num_buckets=100, multiplier_init="normal")
    queries = torch.randn(3, 16)
    scores, ids = topk(queries, layer, 10, block_items=512)
    expected = (queries @ layer.materialize().T).topk(10)
    assert torch.equal(ids, expected.indices)
    torch.testing.assert_close(scores, expected.values)


@pytest.mark.parametrize("k", [0, 11])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match=rf"\[1, 10\], got {k}"):
        topk(torch.ones(2, 3), torch.ones(10, 3), k)
