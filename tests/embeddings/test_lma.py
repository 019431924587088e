from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom.embeddings.minhash import random_signatures
from tests.embeddings.oracle import derived_seeds, hashed


def by_hand(signature, memory_size, e, picks, seed):
    """Cells of one id: sort the keys by a hash for every coordinate, and hash the first ones."""
    keys = len(signature)
    seeds = derived_seeds(seed, e * keys + e)
    cells = []
    for j in range(e):
        order = np.argsort(seeds[j * keys : (j + 1) * keys])[:picks]
        code = int.from_bytes(bytes(int(signature[k]) for k in order), "big")
        cells.append(hashed([code], seeds[e * keys + j])[0] % memory_size)
    return cells


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 7),
    st.integers(1, 10**6),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
)
def test_addresses_are_hashes_of_the_picked_keys(keys, picks, memory_size, seed, low):
    signatures = torch.randint(low, 256, (30, keys), generator=torch.Generator().manual_seed(keys))
    signatures = signatures.to(torch.uint8)
    picks = min(picks, keys)
    layer = memcom.LMAEmbedding(
        30, 5, memory_size=memory_size, signatures=signatures, num_picks=picks, seed=seed
    )
    ids = torch.tensor([0, 29])
    cells = [by_hand(signatures[i], memory_size, 5, picks, seed) for i in ids]
    assert layer.addresses(ids)["memory"].tolist() == cells
    memory = layer.memory.detach().numpy().ravel()
    np.testing.assert_array_equal(layer(ids).detach().numpy(), memory[np.array(cells)])


def planted_sets(jaccard, size=3000):
    """Interactions of pairs of ids (2 p, 2 p + 1) with one similarity for each p."""
    ids, users = [], []
    for p, similarity in enumerate(jaccard):
        common = round(2 * size * similarity / (1 + similarity))
        base = p * 10 * size
        a = base + np.arange(size)
        b = np.r_[a[:common], base + size + np.arange(size - common)]
        ids += [np.full(size, 2 * p), np.full(size, 2 * p + 1)]
        users += [a, b]
    return np.concatenate(ids), np.concatenate(users)


def test_memory_is_shared_in_proportion_to_similarity():
    similarities = np.array([0.0, 0.3, 0.6, 0.8, 0.9, 1.0])
    ids, users = planted_sets(similarities)
    for picks in (1, 2, 4):
        shared = []
        for seed in range(12):
            signatures = memcom.minhash_signatures(ids, users, 12, num_keys=32, seed=seed)
            layer = memcom.LMAEmbedding(
                12, 256, memory_size=10**6, signatures=signatures, num_picks=picks
            )
            cells = layer.addresses(torch.arange(12))["memory"]
            shared.append((cells[0::2] == cells[1::2]).double().mean(dim=1).numpy())
        np.testing.assert_allclose(np.mean(shared, axis=0), similarities**picks, atol=0.08)


def test_ids_with_equal_signatures_are_equal_and_others_are_not():
    signatures = torch.tensor([[1, 2, 3], [1, 2, 3], [1, 2, 4]], dtype=torch.uint8)
    layer = memcom.LMAEmbedding(
        3, 16, memory_size=10**5, signatures=signatures, num_picks=2, dtype=torch.float64
    )
    a, b, c = layer(torch.arange(3)).detach()
    assert torch.equal(a, b)
    same = a == c  # where the coordinate does not look at the last key
    assert 0 < same.sum() < 16


def test_without_signatures_cells_are_random():
    n, m = 2000, 500
    layer = memcom.LMAEmbedding(n, 32, memory_size=m)
    assert torch.equal(layer.signatures, random_signatures(n, 8))
    cells = layer.addresses(torch.arange(n))["memory"]
    assert (cells[0::2] == cells[1::2]).double().mean().item() == pytest.approx(1 / m, rel=0.2)
    reads = cells.flatten().bincount(minlength=m)
    assert (reads - n * 32 / m).abs().max() < 6 * (n * 32 / m) ** 0.5
    assert len(cells.unique(dim=0)) == n


def test_given_signatures_are_data_and_not_redrawn():
    signatures = torch.arange(40, dtype=torch.uint8).view(10, 4)
    layer = memcom.LMAEmbedding(10, 6, memory_size=50, signatures=signatures, seed=1)
    layer.reset_parameters()
    assert torch.equal(layer.signatures, signatures)
    signatures.zero_()
    assert layer.signatures.any()  # a copy
    assert "signatures" not in dict(layer.named_parameters())


def test_variance():
    torch.manual_seed(0)
    layer = memcom.LMAEmbedding(2000, 32, memory_size=8000)
    layer.reset_parameters(std=0.1)
    assert layer.materialize().square().mean() == pytest.approx(0.01, rel=0.1)


def test_signature_bytes_count_and_set_the_ceiling():
    # 8 bytes for each of 16 coordinates of 4 bytes: the ratio ends at 8, whatever the memory.
    plan = memcom.plan("lma", 10_000, 16, ratio=7)
    assert plan.nbytes == 4 * plan.arguments["memory_size"] + 10_000 * 8 + 8
    with pytest.raises(memcom.BudgetError, match="signature of 8 bytes, so ratio < 8;"):
        memcom.plan("lma", 10_000, 16, ratio=8)
    few = random_signatures(10_000, 2)
    layer = memcom.build("lma", 10_000, 16, ratio=20, signatures=few, num_picks=2)
    assert layer.compression_ratio >= 20
    with pytest.raises(memcom.BudgetError, match="signature of 2 bytes, so ratio < 32;"):
        memcom.plan("lma", 10_000, 16, ratio=32, signatures=few, num_picks=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signatures": torch.zeros(9, 4, dtype=torch.uint8)}, r"uint8 of shape \(10, keys\)"),
        ({"signatures": torch.zeros(10, 4)}, "signatures must be uint8 .* got torch.float32"),
        ({"num_picks": 8}, "num_picks must be >= 1 and <= 7, got 8"),
        (
            {"num_picks": 4, "signatures": torch.zeros(10, 3, dtype=torch.uint8)},
            "num_picks must be >= 1 and <= 3, got 4",
        ),
    ],
)
def test_signatures_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        memcom.LMAEmbedding(10, 6, memory_size=50, **options)
