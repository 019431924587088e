from __future__ import annotations

from math import comb, factorial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from tests.embeddings.oracle import hashed

IDS = torch.arange(300)


@pytest.mark.parametrize("num_hashes", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 2**32 - 2])
def test_a_vector_is_the_sum_of_its_hashed_rows(num_hashes, seed):
    layer = memcom.BloomEmbedding(300, 6, num_buckets=17, num_hashes=num_hashes, seed=seed)
    table = layer.table.detach().numpy()
    rows = [table[hashed(IDS, (seed + j) % 2**32) % 17] for j in range(num_hashes)]
    np.testing.assert_allclose(layer(IDS).detach(), np.sum(rows, axis=0), rtol=1e-5, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40 - 1), st.integers(1, 10**6), st.integers(0, 2**32 - 1))
def test_addresses_are_ascending_hashes_for_ids_up_to_2_to_the_40(id, num_buckets, seed):
    layer = memcom.BloomEmbedding(2**40, 1, num_buckets=num_buckets, num_hashes=3, seed=seed)
    rows = layer.addresses(torch.tensor([id]))["table"][0].tolist()
    assert rows == sorted(int(hashed([id], (seed + j) % 2**32)[0]) % num_buckets for j in range(3))


def test_one_hash_is_the_hashing_trick_and_two_are_double_hashing():
    for num_hashes, name in ((1, "hash"), (2, "double-hash")):
        bloom = memcom.BloomEmbedding(300, 6, num_buckets=17, num_hashes=num_hashes, seed=3)
        other = memcom.get(name)(300, 6, num_buckets=17, seed=3)
        other.load_state_dict(bloom.state_dict())
        assert torch.equal(bloom(IDS), other(IDS))


def test_variance_counts_hashes_that_meet_in_one_row():
    # With 2 rows and 4 hashes, most ids read a row twice or more; 4 independent rows would give
    # (4 + 4 * 3 / 2) / 4 = 2.5 times the variance asked for.
    squares = []
    for seed in range(300):
        torch.manual_seed(seed)
        layer = memcom.BloomEmbedding(300, 16, num_buckets=2, seed=seed)
        squares.append(layer(IDS).square().mean().item())
    assert np.mean(squares) == pytest.approx(1.0, abs=0.1)


def test_pairs_with_equal_vectors_are_as_many_as_multisets_predict():
    n, m, k = 3000, 30, 3
    layer = memcom.BloomEmbedding(n, 8, num_buckets=m, num_hashes=k).double()
    rows = layer.addresses(torch.arange(n))["table"]
    _, counts = rows.unique(dim=0, return_counts=True)
    equal_rows = int((counts * (counts - 1) // 2).sum())
    # P(two ids read the same multiset) = sum over multisets of P^2, P = orderings / m^k
    kinds = {6: comb(m, 3), 3: m * (m - 1), 1: m}  # orderings: how many multisets have so many
    chance = sum(count * (ways / m**k) ** 2 for ways, count in kinds.items())
    assert chance == pytest.approx(factorial(k) / m**k, rel=0.1)
    expected = comb(n, 2) * chance
    assert abs(equal_rows - expected) < 5 * expected**0.5
    vectors = layer(torch.arange(n)).detach()
    assert len(vectors.mul(2**40).round().unique(dim=0)) == len(counts)


def test_no_table_is_too_small():
    plan = memcom.plan("bloom", 10_000, 64, nbytes=64 * 4 + 4 * 8)
    assert plan.arguments == {"num_buckets": 1}
    with pytest.raises(memcom.BudgetError, match="one row is stored at the least"):
        memcom.plan("bloom", 10_000, 64, nbytes=64 * 4 + 4 * 8 - 1)
