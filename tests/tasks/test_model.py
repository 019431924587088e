from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import memcom
from memcom.tasks import TextClassifier, dense_layers


def names(layers: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in layers]


def test_dense_layers_have_activations_between_them_and_after_the_last_if_asked() -> None:
    assert names(dense_layers(3, (5, 2))) == ["Linear", "ReLU", "Linear"]
    dropped = ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert names(dense_layers(3, (5, 2), 0.1)) == dropped
    assert names(dense_layers(3, (5, 2), 0.1, activate_last=True)) == [*dropped, "ReLU", "Dropout"]
    assert names(dense_layers(3, ())) == names(dense_layers(3, (), activate_last=True)) == []
    assert names(dense_layers(3, (), 0.1, activate_last=True)) == ["Dropout"]
    normed = names(dense_layers(3, (5, 2), 0.1, batch_norm=True, activate_last=True))
    assert [n.strip("_") for n in normed] == [
        *("Dropout", "Linear", "ReLU", "BatchNorm", "Dropout"),
        *("Linear", "ReLU", "BatchNorm", "Dropout"),
    ]
    assert dense_layers(3, (5, 2))(torch.zeros(7, 3)).shape == (7, 2)
    with pytest.raises(ValueError, match=r"dropout.*1"):
        dense_layers(3, (2,), dropout=1.0)


def test_batch_norm_against_numpy_and_with_a_batch_of_one() -> None:
    layers = dense_layers(3, (4,), batch_norm=True, activate_last=True)
    linear, _, norm = layers
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(50, 3)
    weight, bias = (p.detach().numpy() for p in linear.parameters())
    relu = np.maximum(x.numpy() @ weight.T + bias, 0)
    mean, var = relu.mean(0), relu.var(0)
    scale, shift = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    expected = (relu - mean) / np.sqrt(var + 1e-5) * scale + shift
    with torch.no_grad():
        np.testing.assert_allclose(layers(x), expected, atol=1e-5)
        running = 0.1 * mean, 0.9 + 0.1 * relu.var(0, ddof=1)  # after one batch, from 0 and 1
        expected = (relu[:1] - running[0]) / np.sqrt(running[1] + 1e-5) * scale + shift
        np.testing.assert_allclose(layers(x[:1]), expected, atol=1e-5)  # has no spread of its own
        np.testing.assert_allclose(layers.eval()(x[:1]), expected, atol=1e-5)


def test_tables_are_counted_apart_and_frozen_in_place() -> None:
    table = memcom.build("memcom", 300, 8, ratio=2, bits=8)
    model = TextClassifier(table, 3, hidden=(5,))
    linear = 4 * (8 * 5 + 5 + 5 * 3 + 3)
    assert model.output_nbytes == linear
    model.freeze_tables()
    assert model.bag.embedding is not table
    assert model.input_nbytes == table.frozen_nbytes < table.nbytes
    assert model.output_nbytes == linear
    assert model(torch.tensor([1, 299]), torch.tensor([0, 2])).shape == (1, 3)


@pytest.mark.parametrize("method", ["memcom(head=5)", "mixed-dim", "hash(bits=8)"])
def test_a_table_made_of_tables_is_one_table(method: str) -> None:
    name, options = memcom.parse_spec(method)
    table = memcom.build(name, 300, 8, ratio=2, **options)
    model = TextClassifier(table, 3)
    assert model.tables() == {"bag.embedding": table}
    assert model.input_nbytes == table.nbytes
