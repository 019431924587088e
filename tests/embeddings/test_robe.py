from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from tests.embeddings.oracle import derived_seeds, hashed

IDS = torch.arange(400)


def by_hand(id, memory, e, z, seed, signs):
    """One vector, run by run, cell by cell."""
    runs = -(-e // z)
    seeds = derived_seeds(seed, 2 * runs)
    vector, cells = [], []
    for c in range(runs):
        start = hashed([id], seeds[c])[0] % len(memory)
        sign = -1 if signs and hashed([id], seeds[runs + c])[0] % 2 else 1
        for offset in range(z):
            if len(vector) < e:
                cells.append((start + offset) % len(memory))
                vector.append(sign * memory[cells[-1]])
    return vector, cells


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize(("e", "z"), [(12, 1), (12, 4), (12, 5), (12, 12), (1, 1)])
def test_a_vector_is_put_together_from_runs(e, z, signs):
    layer = memcom.ROBEEmbedding(400, e, memory_size=31, chunk_size=z, signs=signs, seed=7)
    memory = layer.memory.detach().numpy().ravel()
    vectors, cells = zip(*(by_hand(i, memory, e, z, 7, signs) for i in range(400)), strict=True)
    np.testing.assert_array_equal(layer(IDS).detach().numpy(), np.array(vectors, np.float32))
    np.testing.assert_array_equal(layer.addresses(IDS)["memory"], cells)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40 - 1), st.integers(3, 10**6), st.integers(0, 2**32 - 1))
def test_addresses_for_ids_up_to_2_to_the_40(id, memory_size, seed):
    layer = memcom.ROBEEmbedding(2**40, 7, memory_size=memory_size, chunk_size=3, seed=seed)
    cells = layer.addresses(torch.tensor([id]))["memory"].tolist()
    assert cells == [by_hand(id, np.zeros(memory_size), 7, 3, seed, False)[1]]


def test_the_array_is_circular():
    # Runs that have to end before the end of the array would start in 0..m-z only, and read the
    # first and last cells less often than the others.
    n, m, z = 30_000, 20, 8
    layer = memcom.ROBEEmbedding(n, z, memory_size=m, chunk_size=z)
    cells = layer.addresses(torch.arange(n))["memory"]
    assert set(cells[:, 0].tolist()) == set(range(m))
    assert torch.equal(cells, (cells[:, :1] + torch.arange(z)) % m)
    reads = cells.flatten().bincount()
    expected = n * z / m
    assert (reads - expected).abs().max() < 5 * z * (n / m) ** 0.5


def test_ids_overlap_in_parts_of_a_run():
    layer = memcom.ROBEEmbedding(400, 8, memory_size=200, chunk_size=8)
    cells = layer.addresses(IDS)["memory"]
    vectors = layer(IDS).detach()
    start = cells[:, 0]
    a, b = next((i, j) for i in range(400) for j in range(400) if (start[j] - start[i]) % 200 == 3)
    assert torch.equal(vectors[a, 3:], vectors[b, :5])


def test_signs_make_shared_cells_alike_as_often_as_unlike():
    n = 2000
    options = {"memory_size": 4, "chunk_size": 4}
    plain = memcom.ROBEEmbedding(n, 16, **options)
    signed = memcom.ROBEEmbedding(n, 16, **options, signs=True)
    signed.load_state_dict(plain.state_dict())
    a, b = plain(torch.arange(n)).detach(), signed(torch.arange(n)).detach()
    assert torch.equal(a.abs(), b.abs())
    ratio = (b / a).view(n, 4, 4)
    assert torch.equal(ratio, ratio[..., :1].expand(n, 4, 4))  # one sign per run
    assert abs(ratio[..., 0].mean()) < 5 / (4 * n) ** 0.5
    with torch.no_grad():
        plain.memory.fill_(1.0)  # all ids share all they have
        signed.memory.fill_(1.0)
    assert torch.equal(plain.materialize().mean(0), torch.ones(16))
    assert signed.materialize().mean(0).abs().max() < 5 / n**0.5


@pytest.mark.parametrize("chunk_size", [1, 8])
def test_a_coordinate_has_the_variance_of_a_cell(chunk_size):
    torch.manual_seed(0)
    layer = memcom.ROBEEmbedding(2000, 32, memory_size=8000, chunk_size=chunk_size, signs=True)
    layer.reset_parameters(std=0.1)
    assert layer.materialize().square().mean() == pytest.approx(0.01, rel=0.1)


def test_the_default_run_fits_a_narrow_vector():
    assert memcom.ROBEEmbedding(100, 3, memory_size=50).chunk_size == 3
    assert memcom.ROBEEmbedding(100, 64, memory_size=50).chunk_size == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_size": 13}, "chunk_size must be >= 1 and <= 12, got 13"),
        ({"chunk_size": 5, "memory_size": 4}, "memory_size must be >= 5"),
        ({"memory_size": 2**32 + 1, "device": "meta"}, "memory_size must be .* <= 4294967296"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        memcom.ROBEEmbedding(100, 12, **{"memory_size": 50, **options})


def test_the_budget_is_met_to_the_cell():
    plan = memcom.plan("robe", 10_000, 64, nbytes=1004, chunk_size=16)
    assert plan.arguments == {"chunk_size": 16, "memory_size": (1004 - 8) // 4}
    assert plan.nbytes == 1004
    with pytest.raises(memcom.BudgetError, match="one run of 16 cells and the seed"):
        memcom.plan("robe", 10_000, 64, nbytes=71, chunk_size=16)
