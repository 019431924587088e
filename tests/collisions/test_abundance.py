from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import memcom
from memcom.collisions.abundance import information_abundance, spectrum


@pytest.mark.parametrize("shape", [(500, 12), (5, 12), (12, 1), (1, 7)])
def test_the_spectrum_is_that_of_numpy(shape):
    table = torch.randn(*shape) * torch.logspace(0, -3, shape[1])
    expected = np.linalg.svd(table.double().numpy(), compute_uv=False)
    found = spectrum(table, chunk_size=7)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-7)
    abundance = information_abundance(table, chunk_size=100)
    assert abundance == pytest.approx(expected.sum() / expected[0], rel=1e-6)


def test_its_bounds_are_reached():
    assert information_abundance(torch.eye(9)) == pytest.approx(9)
    line = torch.outer(torch.randn(50), torch.randn(8))
    assert information_abundance(line) == pytest.approx(1, abs=1e-5)
    assert np.isnan(information_abundance(torch.zeros(4, 3)))


def test_of_a_compressor_and_of_a_torch_layer():
    torch.manual_seed(0)
    emb = memcom.build("low-rank", 300, 16, ratio=4)
    assert information_abundance(emb, 37) == pytest.approx(
        information_abundance(emb.materialize()), rel=1e-6
    )
    rank = emb.materialize().double()
    assert information_abundance(emb) <= np.linalg.matrix_rank(rank.numpy(), tol=1e-4) + 1e-6
    layer = nn.Embedding(40, 6)
    assert information_abundance(layer) == information_abundance(layer.weight)


def test_a_collapsed_table_has_less():
    torch.manual_seed(0)
    full = torch.randn(1000, 16)
    collapsed = full * torch.tensor([1.0] * 2 + [0.01] * 14)
    assert information_abundance(collapsed) < 3 < 12 < information_abundance(full)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.ones(3), r"expected a matrix.*\(3,\)"),
        (torch.empty(0, 4), "an empty table"),
        (torch.full((3, 2), float("nan")), "not finite"),
        (nn.Linear(2, 2), "got Linear"),
    ],
)
def test_what_is_no_table_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        information_abundance(table)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        spectrum(torch.ones(2, 2), chunk_size=0)
