from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from tests.embeddings.oracle import hashed

N, E, M = 300, 8, 17
IDS = torch.arange(N)


def make(**options):
    torch.manual_seed(0)
    return memcom.HashEmbedding(N, E, num_buckets=M, **options)


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("num_weights", [None, 40])
@pytest.mark.parametrize("num_hashes", [1, 2, 3])
def test_a_vector_is_the_weighted_sum_of_its_rows(num_hashes, num_weights, append):
    layer = make(num_hashes=num_hashes, num_weights=num_weights, append=append, seed=5)
    table, weights = layer.table.detach().numpy(), layer.weights.detach().numpy()
    assert table.shape == (M, E - num_hashes if append else E)
    g = IDS.numpy() if num_weights is None else hashed(IDS, 5 + num_hashes) % 40
    p = weights[g]
    expected = sum(p[:, j, None] * table[hashed(IDS, 5 + j) % M] for j in range(num_hashes))
    if append:
        expected = np.hstack([expected, p])
    np.testing.assert_allclose(layer(IDS).detach(), expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40 - 1), st.integers(1, 10**4), st.integers(1, 10**4))
def test_addresses_keep_the_order_of_the_weights(id, num_buckets, num_weights):
    # Sorting them, as for a plain sum, would pair rows with other ids' weights.
    layer = memcom.HashEmbedding(
        2**40, 1, num_buckets=num_buckets, num_hashes=3, num_weights=num_weights
    )
    found = layer.addresses(torch.tensor([[id]]))
    rows = [int(hashed([id], j)[0]) for j in range(4)]
    assert found["table"].tolist() == [[[h % num_buckets for h in rows[:3]]]]
    assert found["weights"].tolist() == [[rows[3] % num_weights]]


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("num_buckets", [3, 500])
def test_every_coordinate_has_the_variance_asked_for(num_buckets, append):
    squares = []
    for seed in range(100):
        torch.manual_seed(seed)
        layer = memcom.HashEmbedding(500, 6, num_buckets=num_buckets, append=append, seed=seed)
        layer.reset_parameters(std=0.5)
        squares.append(layer(torch.arange(500)).square().mean(0).detach().numpy())
    np.testing.assert_allclose(np.mean(squares, axis=0), 0.25, rtol=0.15)


def test_own_weights_separate_ids_that_share_all_rows():
    layer = make(num_hashes=2)
    rows = layer.addresses(IDS)["table"]
    _, bucket = rows.unique(dim=0, return_inverse=True)
    a, b = next(
        (i, j) for i in range(N) for j in range(i) if bucket[i] == bucket[j]
    )  # 300 ids on 17^2 pairs of rows: some meet
    assert not torch.equal(layer(torch.tensor(a)), layer(torch.tensor(b)))
    before = layer(IDS).detach()
    with torch.no_grad():
        layer.weights[a] += 1.0
    changed = (layer(IDS) != before).any(dim=-1).nonzero().flatten().tolist()
    assert changed == [a]


def test_shared_weights_alone_do_not_merge_ids():
    # Hashing g(i) instead of i, as some do, makes ids equal that meet in g.
    layer = make(num_hashes=2, num_weights=5)
    found = layer.addresses(IDS)
    same_weights = IDS[found["weights"] == found["weights"][0]]
    assert len(same_weights) > 30
    assert len(found["table"][same_weights].unique(dim=0)) > 0.8 * len(same_weights)
    both = torch.cat([found["table"], found["weights"][:, None]], dim=1)
    assert len(layer(IDS).unique(dim=0)) == len(both.unique(dim=0))


def test_appending_widens_nothing_and_padding_blanks_the_weights_too():
    layer = make(append=True, padding_idx=2)
    assert layer(IDS).shape == (N, E)
    assert torch.equal(layer(torch.tensor(2)), torch.zeros(E))
    assert layer.nbytes == 4 * (M * (E - 2) + N * 2) + 2 * 8
    with pytest.raises(ValueError, match="embedding_dim must be > 8 to append as many weights"):
        make(num_hashes=8, append=True)


def test_the_budget_counts_the_weights():
    with pytest.raises(memcom.BudgetError, match=r"stores 2 weights, so ratio < 32; num_weights"):
        memcom.plan("hash-embedding", 10_000, 64, ratio=32)
    plan = memcom.plan("hash-embedding", 10_000, 64, ratio=32, num_weights=2000)
    rows = plan.arguments["num_buckets"]
    assert plan.nbytes == 4 * (rows * 64 + 2000 * 2) + 3 * 8 <= 80_000 < plan.nbytes + 4 * 64
