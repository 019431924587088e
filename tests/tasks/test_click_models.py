from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks.click_models import DCN, DLRM, FieldBias

SIZES = {"site": 5, "advert": 40, "user name": 9}
IDS = torch.tensor([[0, 39, 8], [4, 0, 1]])


def tables(width: int = 4) -> dict[str, memcom.CompressedEmbedding]:
    torch.manual_seed(0)
    return {
        field: memcom.build("full", n, width) if n < 20 else memcom.build("qr", n, width, ratio=2)
        for field, n in SIZES.items()
    }


def rows_of(model: DLRM | DCN) -> np.ndarray:
    every = [table.materialize().numpy() for table in model.embeddings]
    return np.stack([rows[IDS[:, field]] for field, rows in enumerate(every)], axis=1)


def mlp(layers: torch.nn.Sequential, x: np.ndarray) -> np.ndarray:
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    for number, layer in enumerate(linear):
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        x = np.maximum(x, 0) if number < len(linear) - 1 else x
    return x


@pytest.mark.parametrize("num_dense", [0, 3])
def test_dlrm_by_hand(num_dense: int) -> None:
    model = DLRM(tables(), num_dense, bottom=(6,), top=(5,))
    dense = torch.randn(2, num_dense)
    vectors, known = rows_of(model), np.empty((2, 0))
    if num_dense:
        known = mlp(model.bottom, dense.numpy())
        vectors = np.concatenate([known[:, None], vectors], axis=1)
    pairs = combinations(range(vectors.shape[1]), 2)
    dots = np.stack([(vectors[:, i] * vectors[:, j]).sum(1) for i, j in pairs], axis=1)
    expected = mlp(model.top, np.concatenate([known, dots], axis=1))[:, 0]
    np.testing.assert_allclose(model(IDS, dense).detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cross_layers", [0, 3])
def test_dcn_by_hand(cross_layers: int) -> None:
    model = DCN(tables(), 2, cross_layers=cross_layers, deep=(6, 3))
    with torch.no_grad():
        model.cross_bias.normal_()
    dense = torch.randn(2, 2)
    first = np.concatenate([rows_of(model).reshape(2, -1), dense.numpy()], axis=1)
    x = first
    for w, b in zip(model.cross_weight.detach(), model.cross_bias.detach(), strict=True):
        x = first * (x @ w.numpy())[:, None] + b.numpy() + x
    deep = np.maximum(mlp(model.deep, first), 0)
    expected = mlp(torch.nn.Sequential(model.output), np.concatenate([x, deep], axis=1))[:, 0]
    np.testing.assert_allclose(model(IDS, dense).detach(), expected, rtol=1e-4, atol=1e-5)


def test_field_bias_adds_a_number_per_id_of_each_field() -> None:
    model = FieldBias([5, 40, 9], 1)
    with torch.no_grad():
        model.bias.weight.normal_()
    weight = model.bias.weight.detach()[:, 0].numpy()
    dense = torch.tensor([[2.0], [-1.0]])
    linear = model.dense
    own = weight[0] + weight[5 + 39] + weight[45 + 8], weight[4] + weight[5] + weight[46]
    expected = np.array(own) + mlp(torch.nn.Sequential(linear), dense.numpy())[:, 0]
    np.testing.assert_allclose(model(IDS, dense).detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [DLRM, DCN])
def test_bytes_are_those_of_the_tables(kind: type[DLRM] | type[DCN]) -> None:
    each = tables()
    model = kind(each, 1)
    assert model.input_nbytes == sum(table.nbytes for table in each.values())
    stored = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert model.input_nbytes + model.output_nbytes == stored


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"widths \[2, 4\]"):
        DLRM({"a": memcom.build("full", 3, 2), "b": memcom.build("full", 3, 4)}, 0)
    with pytest.raises(ValueError, match="no pair"):
        DLRM({"a": memcom.build("full", 3, 2)}, 0)
    with pytest.raises(ValueError, match=r"ids must be \(n, 3\)"):
        DCN(tables(), 0)(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 0))
    with pytest.raises(ValueError, match="cross_layers"):
        DCN(tables(), 0, cross_layers=-1)
