"""Every method as shipped, and what stands beside it."""

from __future__ import annotations

import types
from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks import fbgemm, methods, targets
from benchmarks.candidates import BASELINE
from memcom.budget import build
from memcom.embeddings import CodebookEmbedding, CSREmbedding, JaggedEmbedding


@pytest.fixture(scope="module")
def layers():
    return dict(methods.shipped(2000, 16))


def test_every_target_of_a_lookup_has_its_layer(layers):
    promised = {
        t.method for t in targets.TARGETS if (t.phase, t.baseline) == ("registry", BASELINE)
    }
    assert promised <= set(layers)
    smaller = {t.method for t in targets.TARGETS if t.phase == "registry" and t[-1] == 10**5}
    assert {n for n, layer in layers.items() if layer.num_embeddings == 200} == smaller
    assert {layer.num_embeddings for layer in layers.values()} == {200, 2000}


def test_layers_are_in_the_form_that_is_shipped(layers):
    frozen = {name.split(",")[0]: type(layer) for name, layer in layers.items()}
    assert frozen["dpq"] is frozen["mgqe"] is CodebookEmbedding
    assert frozen["pep"] is frozen["fiited"] is CSREmbedding
    assert frozen["amtl"] is frozen["scall"] is JaggedEmbedding
    for name, layer in layers.items():
        assert layer.freeze() is layer or layer.freeze().nbytes == layer.nbytes, name
        assert layer(torch.arange(20)).isfinite().all(), name
        if ", random" in name or ", widths" in name:  # as many bytes as what training would leave
            method = name.split(",")[0]
            trained = methods.at_16(method, 2000, 16)
            assert layer.nbytes == trained.frozen_nbytes, name


def test_packed_rows_have_their_bits(layers):
    # 16 and 125 rows of 16 numbers; scale and offset, two fp16 numbers, unless 16 bits are fp16.
    for bits in (2, 3, 4, 8, 16):
        scales = 4 if bits < 16 else 0
        assert layers[f"qr, {bits} bits"].nbytes == (16 + 125) * (16 * bits // 8 + scales)


@pytest.mark.parametrize("bits", [4, 8])
def test_torch_packs_rows_in_few_values(bits):
    lookup = methods.torch_packed(50, 64, bits)
    rows = lookup(torch.arange(50), torch.arange(50))
    assert rows.shape == (50, 64)
    assert 0.8 < float(rows.std()) < 1.2  # drawn from N(0, 1)
    assert max(len(row.unique()) for row in rows) <= 2**bits
    assert len(lookup(torch.arange(50), torch.tensor([0, 20]))) == 2


def test_only_whole_tables_of_few_bits_have_peers(monkeypatch):
    kinds = types.SimpleNamespace(INT8=8, INT4=4, FP32=32)

    class Packed:
        def __init__(self, tables, device, output_dtype):
            ((_, self.rows, self.width, self.bits, place),) = tables
            assert (place, device, output_dtype, self.bits) == ("host", "cpu", 32, bits)

        def fill_random_weights(self):
            self.filled = torch.ones(self.rows, self.width)

        def __call__(self, ids, offsets):
            return torch.stack([self.filled[ids[a:b]].sum(0) for a, b in pairwise(offsets)])

    found = types.SimpleNamespace(
        SparseType=kinds,
        EmbeddingLocation=types.SimpleNamespace(HOST="host"),
        IntNBitTableBatchedEmbeddingBagsCodegen=Packed,
    )
    monkeypatch.setattr(fbgemm, "_fbgemm", lambda: found)
    ids = torch.tensor([3, 1, 4])
    for name, bits in (("int8", 8), ("int4", 4)):
        group = methods.peers(name, 20, 8, 3)
        assert list(group) == [f"torch, {bits} bits, bags of 1", f"FBGEMM, {bits} bits, bags of 1"]
        assert {candidate(ids).shape for candidate in group.values()} == {torch.Size([3, 8])}
    assert methods.peers("qr", 20, 8, 3) == {}
    monkeypatch.setattr(fbgemm, "_fbgemm", lambda: None)
    monkeypatch.setattr(methods, "torch_packed", lambda *sizes: None)
    assert methods.peers("int8", 20, 8, 3) == {}


def test_the_products_are_those_of_the_network_and_of_the_different_ids():
    layer = build("dhe", 20, 8, widths=[6, 5])
    torch.manual_seed(0)
    numbers = torch.randn(4, 6).numpy()
    torch.manual_seed(0)
    group = methods.beside_products(layer, 4)
    batch = torch.tensor([3, 1, 3, 3]), 2
    first, second = (weight.detach().numpy() for weight in layer.weights)
    np.testing.assert_allclose(
        group[methods.PRODUCTS](batch).numpy(),
        numbers[:2] @ first.T @ second.T,
        rtol=1e-5,
        atol=1e-6,
    )
    assert torch.equal(group["dhe"](batch), layer(batch[0]))


def test_the_steps_of_methods_train():
    ids = torch.arange(64)
    groups = list(methods.method_steps(400, 16, 64))
    names = {(method, baseline) for baseline, method in map(list, groups)}
    assert names == {(t.method, t.baseline) for t in targets.TARGETS if t.limit == 3}
    for group in groups:
        for call in group.values():
            call(ids)
            call(ids)


def test_steps_stand_beside_their_products():
    batch = torch.arange(64) % 50, 50
    for group in methods.steps_beside_products(400, 16, 64):
        products, own = group.values()
        assert all(found.isfinite().all() for found in products(batch))
        own(batch)
    names = {tuple(group)[1] for group in methods.steps_beside_products(400, 16, 64)}
    assert names == {t.method for t in targets.TARGETS if t.baseline == targets.STEP_PRODUCTS}


def test_the_products_of_a_network_are_those_of_its_gradients():
    layer = build("dhe", 20, 8, widths=[6, 5, 7])
    torch.manual_seed(0)
    numbers, upstream = torch.randn(9, 6), torch.randn(9, 8)
    torch.manual_seed(0)
    vectors, *found = methods.network_products(layer, 9)(4)
    weights = list(layer.weights)
    expected = numbers[:4] @ weights[0].T @ weights[1].T @ weights[2].T
    gradients = torch.autograd.grad(expected, weights[::-1], upstream[:4])
    torch.testing.assert_close([vectors, *found], [expected.detach(), *gradients])


def test_the_products_of_codewords_have_the_sizes_of_a_step():
    layer = build("dpq", 20, 8, num_groups=2, num_codewords=16)
    sizes = [tuple(found.shape) for found in methods.codeword_products(layer, 9)(5)]
    assert sizes == [(2, 5, 16), (2, 5, 16), (2, 5, 4), (2, 16, 4)]
