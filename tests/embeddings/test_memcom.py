from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from tests.embeddings.oracle import check

N, E = 200, 12
IDS = np.arange(N)


def test_memcom():
    layer = memcom.MEmComEmbedding(N, E, num_buckets=30)
    check(layer, lambda s: s["table"][IDS % 30] * s["multiplier"])
    assert layer.nbytes == 4 * (30 * E + N)


def test_memcom_with_bias():
    layer = memcom.MEmComEmbedding(N, E, num_buckets=30, bias=True)
    check(layer, lambda s: s["table"][IDS % 30] * s["multiplier"] + s["bias"])
    assert layer.nbytes == 4 * (30 * E + 2 * N)


def test_memcom_starts_as_the_hashing_trick():
    layer = memcom.MEmComBiasEmbedding(N, E, num_buckets=30)
    assert torch.equal(layer.materialize(), layer.table[torch.arange(N) % 30])


def test_memcom_may_start_with_its_ids_apart():
    layer = memcom.MEmComEmbedding(20_000, 8, num_buckets=5000, multiplier_init="normal")
    layer.reset_parameters(std=0.3)
    rows = layer.materialize().reshape(4, 5000, 8)  # ids i, i + 5000, ... share a row
    assert rows.square().mean().item() == pytest.approx(0.3**2, rel=0.05)
    opposed = (rows[0] * rows[1]).sum(-1) < 0
    assert opposed.float().mean().item() == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match="multiplier_init must be one of 'ones', 'normal'"):
        memcom.MEmComEmbedding(20, 8, num_buckets=5, multiplier_init="uniform")


def test_memcom_gradients_by_hand():
    # dL/dV[i] = <g_i, U[h]>, dL/dW[i] = sum of g_i, dL/dU[h] = sum over the bucket of V[i] g_i.
    layer = memcom.MEmComEmbedding(N, E, num_buckets=30, bias=True)
    with torch.no_grad():
        layer.multiplier.normal_()
    ids = np.array([3, 33, 63, 3, 7])
    g = np.random.default_rng(0).normal(size=(5, E)).astype(np.float32)
    layer(torch.from_numpy(ids)).backward(torch.from_numpy(g))
    u, v = layer.table.detach().numpy(), layer.multiplier.detach().numpy()
    du, dv, dw = np.zeros_like(u), np.zeros_like(v), np.zeros_like(v)
    np.add.at(du, ids % 30, v[ids] * g)
    np.add.at(dv[:, 0], ids, (g * u[ids % 30]).sum(1))
    np.add.at(dw[:, 0], ids, g.sum(1))
    for name, expected in (("table", du), ("multiplier", dv), ("bias", dw)):
        got = layer.get_parameter(name).grad.numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_changing_one_multiplier_moves_one_vector():
    layer = memcom.MEmComEmbedding(N, E, num_buckets=30)
    before = layer.materialize()
    with torch.no_grad():
        layer.multiplier[33] = 2.0
    changed = (layer.materialize() != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [33]
