from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from tests.embeddings.oracle import hashed

N, E = 200, 12
IDS = np.arange(N)


def state(layer):
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
    return {name: t.numpy() for name, t in layer.state_dict().items()}


def test_scalar_qr():
    layer = memcom.ScalarQREmbedding(N, E, num_buckets=30)
    s = state(layer)
    expected = s["table"][IDS % 30] * s["multiplier"][IDS // 30]
    np.testing.assert_allclose(layer.materialize().numpy(), expected, rtol=1e-6)
    assert layer.nbytes == 4 * (30 * E + 7)  # ceil(200 / 30)


def test_scalar_qr_is_quotient_remainder_with_a_narrow_quotient():
    layer = memcom.ScalarQREmbedding(N, E, num_buckets=30)
    full = memcom.QREmbedding(N, E, num_remainders=30)
    state(layer)
    with torch.no_grad():
        full.remainder.copy_(layer.table)
        full.quotient.copy_(layer.multiplier.expand(-1, E))
    torch.testing.assert_close(layer.materialize(), full.materialize())


@pytest.mark.parametrize("k", [2, 3])
def test_k_memcom(k):
    layer = memcom.KMEmComEmbedding(N, E, num_buckets=30, num_hashes=k, seed=5)
    s = state(layer)
    rows = [IDS % 30] + [hashed(IDS, 5 + j) % 30 for j in range(1, k)]
    expected = sum(s["table"][r] * s["multiplier"][:, [j]] for j, r in enumerate(rows))
    np.testing.assert_allclose(layer.materialize().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert layer.nbytes == 4 * (30 * E + k * N) + 8 * (k - 1)


def test_k_memcom_keeps_the_precision_of_its_weights():
    layer = memcom.KMEmComEmbedding(N, E, num_buckets=30)
    assert layer.row_tables() == ["table"]
    assert memcom.quantize(layer).multiplier.dtype == torch.float32


def test_one_hash_is_memcom_itself():
    with pytest.raises(ValueError, match=r"num_hashes must be >= 2 .*got 1"):
        memcom.KMEmComEmbedding(N, E, num_buckets=30, num_hashes=1)


def test_the_ceilings_are_named():
    with pytest.raises(memcom.BudgetError, match="2 weights, so ratio < 6"):
        memcom.plan("k-memcom", 3000, E, ratio=8)
    assert memcom.plan("scalar-qr", 3000, E, ratio=32).nbytes <= 4 * 3000 * E / 32
