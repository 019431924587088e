from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from memcom import kernels
from memcom.kernels.networks import WORTH
from tests.embeddings.oracle import hashed

pytest.importorskip("numba")

SEEDS = torch.tensor([0, 1, 7, 2**31, 2**32 - 1])


@pytest.fixture
def runs(monkeypatch):
    """Names of the compiled functions that were called."""
    from memcom.kernels.cpu import networks

    seen = []

    def spied(name, function):
        def spy(*args):
            seen.append(name)
            return function(*args)

        return spy

    for name in ("hash_numbers", "mish", "mish_gradient"):
        monkeypatch.setattr(networks, name, spied(name, getattr(networks, name)))
    return seen


@pytest.mark.parametrize("count", [0, 1, WORTH // 5 + 1])
@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 1)])
def test_hashes_are_spread_over_the_range(count, low, high, runs):
    ids = torch.randint(2**40, (count,), generator=torch.Generator().manual_seed(0))
    ids[:1] = 2**40 - 1
    codes = np.array([hashed(ids.numpy(), seed) for seed in SEEDS.tolist()]).reshape(5, count).T
    unit = (codes.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    expected = np.float32(low) + np.float32(high - low) * unit
    got = kernels.hash_numbers(ids, SEEDS, low, high)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got, expected)
    with kernels.plain():
        np.testing.assert_array_equal(kernels.hash_numbers(ids, SEEDS, low, high), expected)
    assert runs == ["hash_numbers"] * (count > 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_mish_and_its_derivatives_are_those_of_the_formula(threads, runs):
    x = torch.linspace(-90, 90, 2 * WORTH).reshape(2, WORTH).requires_grad_()
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    exact = x.detach().double().requires_grad_()
    value = exact * torch.tanh(torch.logaddexp(exact, torch.zeros_like(exact)))
    (slope,) = torch.autograd.grad(value, exact, grad.double(), create_graph=True)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = kernels.mish(x)
        (got_slope,) = torch.autograd.grad(got, x, grad, retain_graph=True)
    finally:
        torch.set_num_threads(before)
    assert runs == ["mish", "mish_gradient"]
    torch.testing.assert_close(got.double(), value, rtol=1e-6, atol=1e-30)
    torch.testing.assert_close(got_slope.double(), slope, rtol=1e-5, atol=2e-6)
    (again,) = torch.autograd.grad(got, x, grad, create_graph=True)
    (curve,) = torch.autograd.grad(again.sum(), x)
    (expected,) = torch.autograd.grad(slope.sum(), exact)
    torch.testing.assert_close(curve.double(), expected, rtol=1e-4, atol=1e-5)
    several = torch.stack([grad, 2 * grad])
    (batched,) = torch.autograd.grad(kernels.mish(x), x, several, is_grads_batched=True)
    torch.testing.assert_close(
        batched, torch.stack([got_slope, 2 * got_slope]), atol=1e-5, rtol=1e-4
    )


def test_mish_of_numbers_that_are_none():
    x = torch.full((WORTH,), torch.nan)
    x[1:5] = torch.tensor([torch.inf, 3e38, -3e38, -torch.inf])
    got = kernels.mish(x)
    assert got[1:5].tolist() == pytest.approx([torch.inf, 3e38, 0, 0])
    assert got.isnan().sum() == WORTH - 4


@pytest.mark.parametrize(
    "x",
    [
        torch.ones(2, WORTH, dtype=torch.float64),
        torch.ones(2, WORTH, dtype=torch.bfloat16),
        torch.ones(WORTH, 2).T,
        torch.ones(3),
    ],
)
def test_other_numbers_go_the_plain_way(x, runs):
    torch.testing.assert_close(kernels.mish(x), F.mish(x))
    assert runs == []
