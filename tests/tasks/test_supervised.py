from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks import (
    Prior,
    SupervisedOptions,
    TextClassifier,
    TextExamples,
    TrainingError,
    accuracy,
    fit_supervised,
    predict,
)
from tests.tasks.data import texts


def test_the_prior_is_the_share_of_each_class() -> None:
    label = torch.tensor([0, 0, 0, 1, 2, 2])
    shares = torch.softmax(Prior(label, 3)(torch.arange(9), torch.tensor([0, 4, 9])), 1)
    np.testing.assert_allclose(shares, [np.array([3.5, 1.5, 2.5]) / 7.5] * 2, rtol=1e-6)
    odds = Prior(torch.tensor([1, 0, 0, 0]), 2, binary=True)(torch.zeros(5, 2), torch.zeros(5, 0))
    np.testing.assert_allclose(odds, [np.log(1.5 / 3.5)] * 5, rtol=1e-6)
    with pytest.raises(ValueError, match="two classes"):
        Prior(torch.tensor([0]), 3, binary=True)


def test_batches_make_no_difference_to_predictions() -> None:
    model = TextClassifier(memcom.build("full", 120, 8), 4, dropout=0.5).train()
    test = TextExamples.of(texts(), "test")
    whole, parts = predict(model, test), predict(model, test, batch_size=7)
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-6)
    assert model.training


def test_a_diverged_training_and_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"patience.*0"):
        SupervisedOptions(patience=0)
    with pytest.raises(ValueError, match=r"learning_rate.*0"):
        SupervisedOptions(learning_rate=0)
    model = TextClassifier(memcom.build("full", 120, 8), 4)
    with torch.no_grad():
        model.bag.embedding.table.fill_(torch.inf)
    train = TextExamples.of(texts(), "train")
    with pytest.raises(TrainingError, match="learning rate"):
        fit_supervised(model, train, train, lambda x, y: float(accuracy(x, y).mean()))
