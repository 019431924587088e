from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks import (
    DCN,
    DLRM,
    ClickExamples,
    FieldBias,
    Prior,
    auc,
    fit_supervised,
    log_loss,
    predict,
)
from tests.tasks.data import clicks

SIZES = {"site": 5, "advert": 40, "user name": 9}
IDS = torch.tensor([[0, 39, 8], [4, 0, 1]])


def tables(width: int = 4) -> dict[str, memcom.CompressedEmbedding]:
    torch.manual_seed(0)
    return {
        field: memcom.build("full", n, width) if n < 20 else memcom.build("qr", n, width, ratio=2)
        for field, n in SIZES.items()
    }


def rows_of(model: DLRM | DCN) -> np.ndarray:
    every = [table.materialize().numpy() for table in model.embeddings.tables]
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


@pytest.mark.parametrize("kind", [DLRM, DCN])
def test_planted_crosses_are_found_where_scores_per_id_find_none(
    kind: type[DLRM] | type[DCN],
) -> None:
    def score(logits: torch.Tensor, label: torch.Tensor) -> float:
        return -float(log_loss(logits, label).mean())

    data = clicks()
    train, valid, test = (ClickExamples.of(data, split) for split in ("train", "valid", "test"))
    torch.manual_seed(0)
    each = {f: memcom.build("full", n, 8, sparse=True) for f, n in data.cardinalities.items()}
    for table in each.values():
        table.reset_parameters(0.1)
    found = {}
    controls = FieldBias(list(data.cardinalities.values()), 2), Prior(train.label, 2, binary=True)
    for model in (kind(each, 2), *controls):
        fit_supervised(model, train, valid, score, epochs=6, learning_rate=1e-2)
        logits = predict(model, test)
        found[type(model)] = auc(logits, test.label), score(logits, test.label)
    assert found[Prior][0] == 0.5
    assert found[kind][0] > found[FieldBias][0] + 0.05
    assert found[kind][1] > max(found[FieldBias][1], found[Prior][1])


def test_dense_columns_are_standardised_by_the_training_rows() -> None:
    data = clicks()
    dense = data.dense.copy()
    dense[:, 0] = 5 * dense[:, 0] + 100
    dense[:, 1] = 3
    data = replace(data, dense=dense)
    train, test = ClickExamples.of(data, "train"), ClickExamples.of(data, "test")
    own = dense[data.split == 0].astype(np.float64)
    np.testing.assert_allclose(
        test.dense[:, 0],
        (dense[data.split == 2, 0] - own[:, 0].mean()) / own[:, 0].std(),
        rtol=1e-4,
    )
    assert train.dense[:, 0].std().item() == pytest.approx(1, rel=1e-3)
    assert (train.dense[:, 1] == 0).all()


def test_rows_that_cannot_be_trained_on_are_refused() -> None:
    data = clicks()
    weighted = replace(data, weight=np.ones(len(data), dtype=np.float32))
    with pytest.raises(ValueError, match="weighted rows"):
        ClickExamples.of(weighted, "train")
    with pytest.raises(ValueError, match="test split is empty"):
        ClickExamples.of(replace(data, split=np.zeros(len(data), dtype=np.int8)), "test")


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"width.*\[2, 4\]"):
        DLRM({"a": memcom.build("full", 3, 2), "b": memcom.build("full", 3, 4)}, 0)
    with pytest.raises(ValueError, match="no pair"):
        DLRM({"a": memcom.build("full", 3, 2)}, 0)
    with pytest.raises(ValueError, match=r"3\), got \(2, 2\)"):
        DCN(tables(), 0)(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 0))
    with pytest.raises(ValueError, match="cross_layers"):
        DCN(tables(), 0, cross_layers=-1)
