"""AUC, log loss and accuracy against scikit-learn and by counting pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from memcom.tasks.metrics import accuracy, auc, log_loss


@pytest.mark.parametrize("levels", [2, 7, 10**9])
def test_auc_equals_scikit_learn_with_and_without_ties(levels: int) -> None:
    rng = np.random.default_rng(levels)
    label = rng.random(3000) < 0.2
    scores = rng.integers(0, levels, 3000) + (levels * label // 3)
    ours = auc(torch.tensor(scores, dtype=torch.float64), torch.tensor(label))
    assert ours == pytest.approx(roc_auc_score(label, scores), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=12))
def test_auc_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    positive = [score for score, label in rows if label]
    negative = [score for score, label in rows if not label]
    scores = torch.tensor([float(score) for score, _ in rows])
    label = torch.tensor([int(label) for _, label in rows])
    if not positive or not negative:
        with pytest.raises(ValueError, match="both classes"):
            auc(scores, label)
        return
    wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    assert auc(scores, label) == pytest.approx(wins / (len(positive) * len(negative)))


def test_binary_log_loss_equals_scikit_learn_and_survives_certainty() -> None:
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=500) * 3, rng.integers(0, 2, 500)
    ours = log_loss(torch.tensor(logits), torch.tensor(label))
    assert ours.shape == (500,)
    expected = sklearn_log_loss(label, 1 / (1 + np.exp(-logits)))
    assert ours.mean().item() == pytest.approx(expected, rel=1e-6)
    # -log sigma(-1000) = 1000, where the probability itself is 0 in floating point.
    assert log_loss(torch.tensor([1000.0]), torch.tensor([0])).item() == 1000


def test_log_loss_of_classes_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    logits, label = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    ours = log_loss(torch.tensor(logits), torch.tensor(label)).mean().item()
    assert ours == pytest.approx(sklearn_log_loss(label, shares, labels=range(5)), rel=1e-6)


def test_accuracy_equals_scikit_learn_and_shares_ties() -> None:
    rng = np.random.default_rng(2)
    scores, label = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    ours = accuracy(torch.tensor(scores), torch.tensor(label)).mean().item()
    assert ours == pytest.approx(accuracy_score(label, scores.argmax(1)))
    tied = accuracy(torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), torch.tensor([0, 2]))
    assert tied.tolist() == [0.5, 0.0]


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        auc(torch.tensor([0.0, torch.nan]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        auc(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="label must be"):
        log_loss(torch.zeros(2), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="without NaN"):
        accuracy(torch.full((1, 2), torch.nan), torch.tensor([0]))
