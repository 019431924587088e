"""Bags pooled by the compiled sweep against torch's pooling of composed rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import memcom
from memcom import kernels
from tests.embeddings.cases import make, some_ids

pytest.importorskip("numba")


@pytest.fixture(autouse=True, scope="module")
def loaded():
    assert kernels.warm_up()


def by_hand(layer, ids, offsets, mode, weights):
    with kernels.plain():
        vectors = layer(ids)
    if weights is not None:
        vectors = vectors * weights.unsqueeze(1)
    bags = []
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        counted = int((ids[start:stop] != layer.padding_idx).sum()) if mode == "mean" else 1
        bags.append(vectors[start:stop].sum(0) / max(1, counted))
    return torch.stack(bags)


@pytest.mark.parametrize("spec", ["memcom-bias", "qr", "hash", "bch", "double-hash(fusion=concat)"])
@pytest.mark.parametrize("mode", ["sum", "mean", "weighted"])
@pytest.mark.parametrize("lengths", [[3, 0, 1, 2], [0, 0], [700, 5, 0, 900], [1] * 500])
def test_a_bag_is_the_pool_of_composed_rows(spec, mode, lengths):
    layer = make(spec, padding_idx=7)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    ids = some_ids(sum(lengths))
    ids[::4] = 7
    weights = torch.randn(len(ids)) if mode == "weighted" else None
    mode = "sum" if mode == "weighted" else mode
    pooled = kernels.fused_bag(layer, ids, offsets, mode, weights)
    expected = by_hand(layer, ids, offsets, mode, weights)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-4)
    upstream = torch.randn(expected.shape)
    parameters = list(layer.parameters())
    got = torch.autograd.grad(pooled, parameters, upstream)
    want = torch.autograd.grad(expected, parameters, upstream)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


PACKED = [
    *(
        "memcom(bits=8)",
        "qr(bits=4)",
        "memcom(bits=3)",
        "qr(bits=2)",
        "hash(bits=16)",
        "robe(signs=True)",
        "jagged",
        "dpq",
    ),
    *("low-rank(bits=4)", "memcom(head=20,bits=8)", "lhf"),
]


@pytest.mark.parametrize("spec", PACKED)
@pytest.mark.parametrize("mode", ["sum", "mean", "weighted"])
def test_a_bag_of_any_reading_is_the_pool_of_what_numpy_makes_of_it(spec, mode):
    layer = make(spec, padding_idx=7).freeze()
    lengths = np.array([700, 0, 5, 127, 1, 0, 3000, 128, *[3] * 300, 0])
    offsets = np.concatenate([[0], lengths.cumsum()])
    ids = some_ids(int(offsets[-1]))
    ids[::4] = 7
    weights = torch.randn(len(ids)) if mode == "weighted" else None
    table = layer.materialize().numpy().astype(np.float64)
    rows = table[ids.numpy()] * (1 if weights is None else weights.numpy()[:, None])
    counted = np.add.reduceat(np.r_[ids.numpy() != 7, False], offsets[:-1]) * (lengths > 0)
    sums = np.zeros((len(lengths), table.shape[1]))
    np.add.at(sums, np.repeat(np.arange(len(lengths)), lengths), rows)
    want = sums / np.maximum(counted, 1)[:, None] if mode == "mean" else sums
    threads = torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            with torch.no_grad():
                got = kernels.fused_bag(
                    layer,
                    ids,
                    torch.from_numpy(offsets),
                    "mean" if mode == "mean" else "sum",
                    weights,
                )
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bag_of_half_precision_is_rounded_once(dtype):
    layer, ids = make("memcom-bias").to(dtype), some_ids(900)
    offsets = torch.tensor([0, 500, 500, 900])
    with torch.no_grad():
        got = kernels.fused_bag(layer, ids, offsets, "mean")
        assert kernels.fused_bag(layer, ids, offsets, "sum", torch.ones(900)) is None
        want = kernels.fused_bag(layer.float(), ids, offsets, "mean")
    assert got.dtype == dtype
    torch.testing.assert_close(got, want.to(dtype))


def test_a_bag_of_any_reading_is_refused_where_one_lookup_is():
    layer = make("lhf").freeze()
    ids, offsets = some_ids(900), torch.tensor([0, 900])
    ids[801] = 501
    with torch.no_grad(), pytest.raises(IndexError, match=r"id 501 is out of range.*\[0, 501\)"):
        kernels.fused_bag(layer, ids, offsets)
    layer.map.fill_(255)
    with torch.no_grad():
        assert kernels.fused_bag(layer, some_ids(900), offsets) is None
        with pytest.raises(IndexError, match="out of range"):
            memcom.EmbeddingBag(layer)(some_ids(900), offsets[:1])
    layer = make("robe")
    found = memcom.EmbeddingBag(layer)(some_ids(900), offsets[:1])
    assert torch.autograd.grad(found.sum(), list(layer.parameters()))[0].abs().sum() > 0


def test_torchs_own_bag_agrees():
    layer = make("full")
    ids, offsets = some_ids(300), torch.tensor([0, 10, 10, 250, 300])
    pooled = kernels.fused_bag(layer, ids, offsets, "mean")
    expected = F.embedding_bag(ids, layer.table, offsets, mode="mean", include_last_offset=True)
    torch.testing.assert_close(pooled, expected)


def test_what_it_cannot_do_is_left_to_the_plain_path():
    layer, ids = make("memcom"), some_ids(10)
    for offsets in ([0, 7, 3, 10], [1, 10], [0, 9]):
        assert kernels.fused_bag(layer, ids, torch.tensor(offsets)) is None
    offsets = torch.tensor([0, 10])
    assert kernels.fused_bag(layer, ids, offsets, "max") is None
    weights = torch.ones(10, requires_grad=True)
    assert kernels.fused_bag(layer, ids, offsets, "sum", weights) is None
    ids[4] = 501
    with pytest.raises(IndexError, match=r"id 501 is out of range.*\[0, 501\)"):
        kernels.fused_bag(layer, ids, offsets, "sum")


@pytest.mark.parametrize("spec", ["memcom-bias", "qr(operation=add)", "hash"])
def test_a_bag_has_second_derivatives(spec):
    layer = make(spec, padding_idx=7)
    ids, offsets = some_ids(60), torch.tensor([0, 5, 5, 40, 60])
    parameters = list(layer.parameters())
    found = []
    for pooled in (
        kernels.fused_bag(layer, ids, offsets, "mean"),
        by_hand(layer, ids, offsets, "mean", None),
    ):
        first = torch.autograd.grad(pooled.pow(3).sum(), parameters, create_graph=True)
        total = sum(gradient.square().sum() for gradient in first)
        found.append(torch.autograd.grad(total, parameters))
    for a, b in zip(*found, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
