"""The reference lookup against NumPy, and what goes with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memcom import kernels
from memcom.addresses import Clamp, Digit
from memcom.kernels import Read, Recipe
from memcom.kernels.plain import switch


@pytest.mark.parametrize("fusion", kernels.FUSIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_plain_lookup_is_its_formula(fusion, weighted):
    rng = np.random.default_rng(0)
    a, b, shift, weights = (rng.normal(size=s) for s in [(7, 4), (5, 4), (30, 1), (11, 2)])
    reads = (
        Read("a", torch.from_numpy(a), Digit(7)),
        Read("b", torch.from_numpy(b), Digit(5, divisor=7)),
    )
    recipe = Recipe(
        reads,
        fusion,
        Read("shift", torch.from_numpy(shift), Digit(30)),
        Read("weights", torch.from_numpy(weights), Clamp(10)) if weighted else None,
    )
    ids = np.arange(30).reshape(5, 6)
    w = weights[np.minimum(ids, 10)] if weighted else np.ones((5, 6, 2))
    rows = [a[ids % 7] * w[..., :1], b[ids // 7 % 5] * w[..., 1:]]
    fused = {"sum": np.add, "mult": np.multiply, "concat": lambda *r: np.concatenate(r, -1)}
    expected = fused[fusion](*rows) + shift[ids]
    got = kernels.plain_lookup(torch.from_numpy(ids), recipe)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_plain_contexts_may_be_nested():
    with kernels.plain():
        with kernels.plain():
            pass
        assert switch.plain
    assert not switch.plain
