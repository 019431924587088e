from __future__ import annotations

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
    assert dense_layers(3, (5, 2))(torch.zeros(7, 3)).shape == (7, 2)
    with pytest.raises(ValueError, match=r"dropout.*1"):
        dense_layers(3, (2,), dropout=1.0)


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
