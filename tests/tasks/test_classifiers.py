from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks.classifiers import Prior, TextClassifier, dense_layers


def test_logits_are_a_linear_map_of_the_mean_of_composed_rows() -> None:
    table = memcom.MEmComEmbedding(50, 4, num_buckets=7)
    model = TextClassifier(table, 3)
    tokens, offsets = torch.tensor([3, 40, 3, 9]), torch.tensor([0, 3, 3, 4])
    rows = table.materialize().numpy()
    means = np.stack([rows[[3, 40, 3]].mean(0), np.zeros(4), rows[9]])
    linear = model.tail[0]
    expected = means @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    np.testing.assert_allclose(model(tokens, offsets).detach(), expected, rtol=1e-5, atol=1e-6)


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


def test_the_prior_is_the_share_of_each_class() -> None:
    label = torch.tensor([0, 0, 0, 1, 2, 2])
    shares = torch.softmax(Prior(label, 3)(torch.arange(9), torch.tensor([0, 4, 9])), 1)
    np.testing.assert_allclose(shares, [np.array([3.5, 1.5, 2.5]) / 7.5] * 2, rtol=1e-6)
    odds = Prior(torch.tensor([1, 0, 0, 0]), 2, binary=True)(torch.zeros(5, 2), torch.zeros(5, 0))
    np.testing.assert_allclose(odds, [np.log(1.5 / 3.5)] * 5, rtol=1e-6)


def test_bad_arguments_are_named() -> None:
    table = memcom.build("full", 4, 2)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        TextClassifier(table, 1)
    with pytest.raises(ValueError, match="dropout"):
        dense_layers(3, (2,), dropout=1.0)
    with pytest.raises(ValueError, match="two classes"):
        Prior(torch.tensor([0]), 3, binary=True)
