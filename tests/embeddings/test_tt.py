from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom.embeddings.tt import default_dim_factors, default_row_factors


def full_table(cores, row_factors, dim_factors, rank):
    """The whole tensor by one contraction, then its axes in the order of ids and coordinates."""
    (m1, m2, m3), (n1, n2, n3) = row_factors, dim_factors
    g1, g2, g3 = (
        core.reshape(shape)
        for core, shape in zip(
            cores, [(m1, n1, rank), (m2, rank, n2, rank), (m3, rank, n3)], strict=True
        )
    )
    tensor = np.einsum("iax,jxby,kyc->kjiabc", g1, g2, g3)  # digit 1 is the least significant
    return tensor.reshape(m1 * m2 * m3, n1 * n2 * n3)


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize(("n", "e"), [(60, 12), (101, 7), (1, 1), (7, 30)])
def test_a_vector_is_the_product_of_its_slices(n, e, rank):
    torch.manual_seed(0)
    layer = memcom.TTEmbedding(n, e, rank=rank)
    cores = [layer.state_dict()[f"cores.{j}"].numpy() for j in range(3)]
    expected = full_table(cores, layer.row_factors, layer.dim_factors, rank)[:n]
    np.testing.assert_allclose(layer.materialize(chunk_size=13), expected, rtol=1e-4, atol=1e-5)


def test_computing_all_heads_at_once_changes_nothing():
    layer = memcom.TTEmbedding(3000, 12, rank=3, dtype=torch.float64)
    ids = torch.randint(3000, (40, 20), generator=torch.Generator().manual_seed(0))
    heads = layer.row_factors[0] * layer.row_factors[1]
    assert 20 < heads <= 800
    few = torch.stack([layer(row) for row in ids])
    torch.testing.assert_close(layer(ids), few)
    got = torch.autograd.grad(layer(ids).square().sum(), list(layer.cores))
    expected = torch.autograd.grad(few.square().sum(), list(layer.cores))
    torch.testing.assert_close(got, expected)


def test_a_high_enough_rank_holds_any_table():
    # The tensor train decomposition by two singular value decompositions (Oseledets 2011).
    (m1, m2, m3), (n1, n2, n3), rank = (4, 3, 5), (2, 2, 3), 20
    table = np.random.default_rng(0).normal(size=(60, 12))
    tensor = table.reshape(m3, m2, m1, n1, n2, n3).transpose(2, 3, 1, 4, 0, 5)
    u, s, vt = np.linalg.svd(tensor.reshape(m1 * n1, -1), full_matrices=False)
    r1 = len(s)
    rest = (s[:, None] * vt).reshape(r1 * m2 * n2, -1)
    v, t, wt = np.linalg.svd(rest, full_matrices=False)
    r2 = len(t)
    g1, g2, g3 = np.zeros((m1, n1, rank)), np.zeros((m2, rank, n2, rank)), np.zeros((m3, rank, n3))
    g1[:, :, :r1] = u.reshape(m1, n1, r1)
    g2[:, :r1, :, :r2] = v.reshape(r1, m2, n2, r2).transpose(1, 0, 2, 3)
    g3[:, :r2, :] = (t[:, None] * wt).reshape(r2, m3, n3).transpose(1, 0, 2)
    layer = memcom.TTEmbedding(
        60, 12, rank=rank, row_factors=[m1, m2, m3], dim_factors=[n1, n2, n3], dtype=torch.float64
    )
    layer.load_state_dict(
        {f"cores.{j}": torch.from_numpy(g.reshape(len(g), -1)) for j, g in enumerate((g1, g2, g3))}
    )
    np.testing.assert_allclose(layer.materialize(), table, atol=1e-12)


def test_rank_one_is_a_product_of_parts():
    layer = memcom.TTEmbedding(60, 8, rank=1, row_factors=[5, 3, 4])
    a, b, c = (core.detach() for core in layer.cores)
    for id in (0, 17, 59):
        i1, i2, i3 = id % 5, id // 5 % 3, id // 15
        expected = torch.einsum("a,b,c->abc", a[i1], b[i2], c[i3]).flatten()
        torch.testing.assert_close(layer(torch.tensor(id)).detach(), expected)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**40))
def test_row_factors_reach_every_id_and_hardly_more(n):
    factors = default_row_factors(n)
    assert math.prod(factors) >= n
    assert min(factors) == factors[1]
    # Rounding the first of three factors up wastes at most one unit of each.
    assert math.prod(factors) <= n + factors[1] * (factors[0] + factors[2] + 1)
    assert max(factors) <= 3 * n ** (1 / 3)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400))
def test_dim_factors_are_exact_and_as_equal_as_can_be(e):
    factors = default_dim_factors(e)
    assert math.prod(factors) == e
    assert factors[1] == min(factors)
    best = min(
        a + b + e // (a * b)
        for a in range(1, e + 1)
        if e % a == 0
        for b in range(1, e // a + 1)
        if (e // a) % b == 0
    )
    assert sum(factors) == best


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40 - 1))
def test_addresses_are_digits_for_ids_up_to_2_to_the_40(id):
    layer = memcom.TTEmbedding(2**40, 1, rank=1)
    m1, m2, m3 = layer.row_factors
    i1, i2, i3 = (a.item() for a in layer.addresses(torch.tensor(id)).values())
    assert i1 + m1 * (i2 + m2 * i3) == id
    assert (i1 < m1, i2 < m2, i3 < m3) == (True,) * 3


@pytest.mark.parametrize("std", [1.0, 0.05])
@pytest.mark.parametrize("rank", [1, 4, 16])
def test_the_product_has_the_variance_and_not_the_cores(rank, std):
    squares = []
    for seed in range(40):
        torch.manual_seed(seed)
        layer = memcom.TTEmbedding(1000, 32, rank=rank)
        layer.reset_parameters(std=std)
        squares.append(layer.materialize().square().mean().item() / std**2)
    assert np.mean(squares) == pytest.approx(1.0, rel=0.15)


def test_distinct_ids_have_distinct_vectors():
    layer = memcom.TTEmbedding(3000, 16, rank=2, dtype=torch.float64)
    assert len(layer.materialize().unique(dim=0)) == 3000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row_factors": [4, 4, 4]}, "row_factors must be three numbers .* >= 100, got"),
        ({"row_factors": [50, 2]}, "row_factors must be three numbers"),
        ({"dim_factors": [2, 2, 2]}, "dim_factors must be three numbers that multiply to 12"),
        ({"dim_factors": [12, 1, -1]}, r"dim_factors must be >= 1 .*got -1"),
        ({"rank": 0}, "rank must be >= 1"),
    ],
)
def test_factors_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        memcom.TTEmbedding(100, 12, **{"rank": 2, **options})


def test_bytes_are_those_of_the_cores():
    plan = memcom.plan("tt", 10_000, 64, ratio=64)
    (m1, m2, m3), r = default_row_factors(10_000), plan.arguments["rank"]

    def nbytes(r):
        return 4 * 4 * (m1 * r + m2 * r * r + m3 * r)

    assert plan.nbytes == nbytes(r) <= 40_000 < nbytes(r + 1)


@pytest.mark.parametrize("bits", [None, 8])
def test_large_batches_without_a_gradient_are_those_with_one(bits):
    torch.manual_seed(0)
    layer = memcom.TTEmbedding(3000, 24, rank=7, padding_idx=5)
    if bits:
        layer = memcom.quantize(layer, bits=bits)
    ids = torch.arange(3000).int().reshape(50, 60).repeat(1, 2)
    with memcom.kernels.plain():
        expected = layer(ids)
    with torch.no_grad():
        got = layer(ids)
    torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-6)
    assert (got[ids == 5] == 0).all()
