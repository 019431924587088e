"""Each compressor against its formula, written in NumPy from the state of the layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils import murmurhash3_32

import memcom

N, E = 200, 12
IDS = np.arange(N)


def hashed(seed: int) -> np.ndarray:
    keys = (int(i).to_bytes(8, "little") for i in IDS)
    return np.array([murmurhash3_32(key, seed=seed, positive=True) for key in keys])


def check(layer: torch.nn.Module, formula) -> None:
    """Compare all vectors with ``formula(state)``."""
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
        vectors = layer(torch.from_numpy(IDS)).numpy()
    state = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    np.testing.assert_allclose(vectors, formula(state), rtol=1e-5, atol=1e-6)


def test_full():
    check(memcom.FullEmbedding(N, E), lambda s: s["table"])


def test_small_dim():
    layer = memcom.SmallDimEmbedding(N, E, inner_dim=5)
    check(layer, lambda s: np.hstack([s["table"], np.zeros((N, E - 5))]))


def test_truncate():
    layer = memcom.TruncatedEmbedding(N, E, num_kept=20)
    check(layer, lambda s: s["table"][np.minimum(IDS, 20)])


def test_low_rank():
    check(memcom.LowRankEmbedding(N, E, rank=3), lambda s: s["factor"] @ s["projection"])


@pytest.mark.parametrize("seed", [0, 11])
def test_hash(seed):
    layer = memcom.HashEmbedding(N, E, num_buckets=17, seed=seed)
    check(layer, lambda s: s["table"][hashed(seed) % 17])


def test_hash_by_remainder():
    layer = memcom.HashEmbedding(N, E, num_buckets=17, seed=None)
    check(layer, lambda s: s["table"][IDS % 17])
    assert "seeds" not in layer.state_dict()


@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_double_hash(fusion):
    layer = memcom.DoubleHashEmbedding(N, E, num_buckets=17, fusion=fusion, seed=4)

    def formula(s):
        a, b = s["table"][hashed(4) % 17], s["table"][hashed(5) % 17]
        return a + b if fusion == "sum" else np.hstack([a, b])

    check(layer, formula)


FUSE = {
    "add": lambda rows: sum(rows),
    "sum": lambda rows: sum(rows),
    "mult": lambda rows: np.prod(rows, axis=0),
    "concat": np.hstack,
}


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_quotient_remainder(operation):
    layer = memcom.QREmbedding(N, E, num_remainders=30, operation=operation)
    assert layer.quotient.shape[0] == 7  # ceil(200 / 30)
    check(layer, lambda s: FUSE[operation]([s["remainder"][IDS % 30], s["quotient"][IDS // 30]]))


def test_collisions_as_the_paper_counts_them():
    layer = memcom.QREmbedding(N, E, num_collisions=4)
    assert (layer.remainder.shape[0], layer.quotient.shape[0]) == (4, 50)


@pytest.mark.parametrize("sizes", [{}, {"num_remainders": 3, "num_collisions": 3}])
def test_exactly_one_size(sizes):
    with pytest.raises(ValueError, match="one of num_remainders and num_collisions"):
        memcom.QREmbedding(N, E, **sizes)


def test_odd_widths_concatenate_too():
    layer = memcom.QREmbedding(N, 7, num_remainders=30, operation="concat")
    assert (layer.remainder.shape[1], layer.quotient.shape[1]) == (4, 3)
    check(layer, lambda s: np.hstack([s["remainder"][IDS % 30], s["quotient"][IDS // 30]]))


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_mixed_radix(operation):
    layer = memcom.MixedRadixEmbedding(N, E, radices=[5, 7, 6], operation=operation)
    digits = [IDS % 5, IDS // 5 % 7, IDS // 35]

    def formula(s):
        return FUSE[operation]([s[f"tables.{j}"][d] for j, d in enumerate(digits)])

    check(layer, formula)


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_chinese_remainder(operation):
    layer = memcom.ChineseRemainderEmbedding(N, E, moduli=[5, 7, 6], operation=operation)

    def formula(s):
        return FUSE[operation]([s[f"tables.{j}"][IDS % m] for j, m in enumerate([5, 7, 6])])

    check(layer, formula)
    pairs = {(i % 5, i % 7, i % 6) for i in range(N)}
    assert len(pairs) == N


def test_moduli_with_a_common_divisor_are_refused():
    with pytest.raises(ValueError, match="got 6 and 4 with common divisor 2"):
        memcom.ChineseRemainderEmbedding(N, E, moduli=[25, 6, 4])


@pytest.mark.parametrize("cls", [memcom.MixedRadixEmbedding, memcom.ChineseRemainderEmbedding])
def test_too_few_rows_are_refused(cls):
    name = "radices" if cls is memcom.MixedRadixEmbedding else "moduli"
    with pytest.raises(ValueError, match=f"{name} must multiply to >= 200, got .* product 99"):
        cls(N, E, **{name: [9, 11]})


def blocks(code: np.ndarray, length: int, bits: int, strategy: str) -> list[np.ndarray]:
    """Blocks from the code's bits as text, most significant last."""
    text = [format(int(c), f"0{length}b")[::-1] for c in code]
    count = -(-length // bits)
    if strategy == "skip":
        return [np.array([int(t[j::count][::-1], 2) for t in text]) for j in range(count)]
    starts = range(0, length, bits)
    return [np.array([int(t[j : j + bits][::-1], 2) for t in text]) for j in starts]


@pytest.mark.parametrize("fusion", ["sum", "concat", "mult"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("strategy", ["succession", "skip"])
@pytest.mark.parametrize("hash", [None, 9])
def test_binary_code(fusion, shared, strategy, hash):
    layer = memcom.BinaryCodeEmbedding(
        N, 16, block_bits=4, strategy=strategy, shared=shared, fusion=fusion, hash=hash
    )
    code, length = (IDS, 8) if hash is None else (hashed(hash), 32)

    def formula(s):
        rows = enumerate(blocks(code, length, 4, strategy))
        return FUSE[fusion]([s[f"tables.{0 if shared else j}"][r] for j, r in rows])

    check(layer, formula)


def test_a_binary_code_stores_no_row_that_no_id_reads():
    layer = memcom.BinaryCodeEmbedding(600, E, block_bits=4)  # 10 bits; 599 = 0b10_0101_0111
    assert [len(t) for t in layer.tables] == [16, 16, 3]
    rows = [r.unique() for r in layer.addresses(torch.arange(600)).values()]
    assert [len(r) for r in rows] == [16, 16, 3]


def test_a_shared_table_and_a_sum_cannot_tell_permuted_blocks_apart():
    layer = memcom.BinaryCodeEmbedding(256, E, block_bits=4, shared=True)
    assert torch.equal(layer(torch.tensor(0x3A)), layer(torch.tensor(0xA3)))
    # 16 values of a block, 2 blocks: C(17, 2) = 136 multisets.
    assert len(layer.materialize().unique(dim=0)) == 136
    assert len(layer.addresses(torch.arange(256))["tables.0"].unique(dim=0)) == 136
    apart = memcom.BinaryCodeEmbedding(256, E, block_bits=4)
    assert len(apart.materialize().unique(dim=0)) == 256


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


@pytest.mark.parametrize(
    "layer",
    [
        memcom.QREmbedding(10_000, 32, num_remainders=100, operation=operation)
        for operation in ("mult", "add", "concat")
    ],
    ids=lambda layer: layer.operation,
)
def test_no_table_starts_all_positive(layer):
    # A widely used layer draws from [sqrt(1/n), 1) by giving only one bound.
    for table in (layer.remainder, layer.quotient):
        assert abs(table.mean().item()) < 0.1 * table.std().item()
