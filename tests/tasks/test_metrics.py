from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, ndcg_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from memcom.tasks import (
    accuracy,
    auc,
    log_loss,
    ndcg_and_recall_at_k,
    ndcg_at_k,
    recall_at_k,
)


def as_rows(relevant: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    offsets = np.concatenate([[0], np.cumsum(relevant.sum(1))])
    return torch.tensor(offsets), torch.tensor(np.nonzero(relevant)[1])


def brute_force(scores: np.ndarray, relevant: np.ndarray, k: int) -> tuple[float, float]:
    """Mean nDCG and recall over all orders that the scores of one user allow."""
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, int(relevant.sum()))))
    ndcg, recall = [], []
    for order in orders:
        hits = [rank for rank, item in enumerate(order[:k]) if relevant[item]]
        ndcg.append(sum(1 / math.log2(rank + 2) for rank in hits) / ideal)
        recall.append(len(hits) / relevant.sum())
    return float(np.mean(ndcg)), float(np.mean(recall))


def test_a_hand_made_ranking() -> None:
    # Order of the items: 2, 0, 3, 1; relevant are 0 and 1, at ranks 2 and 4.
    scores = torch.tensor([[0.5, 0.1, 0.9, 0.3]])
    relevant = torch.tensor([[True, True, False, False]])
    ideal = 1 / math.log2(2) + 1 / math.log2(3)
    assert ndcg_at_k(scores, relevant, 3).item() == pytest.approx((1 / math.log2(3)) / ideal)
    assert ndcg_at_k(scores, relevant, 4).item() == pytest.approx(
        (1 / math.log2(3) + 1 / math.log2(5)) / ideal
    )
    assert recall_at_k(scores, relevant, 1).item() == 0
    assert recall_at_k(scores, relevant, 3).item() == 0.5
    assert recall_at_k(scores, relevant, 4).item() == 1


@pytest.mark.parametrize("k", [1, 5, 10, 50, 60])
def test_equals_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.normal(size=(40, 50))
    scores[:20] = rng.integers(0, 4, size=(20, 50))  # many ties, across position k too
    relevant = rng.random((40, 50)) < 0.2
    relevant[:, 0] |= ~relevant.any(1)
    ours = ndcg_at_k(torch.tensor(scores), torch.tensor(relevant), k)
    theirs = [
        ndcg_score(relevant[u : u + 1].astype(float), scores[u : u + 1], k=k) for u in range(40)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 7),
)
def test_ties_are_the_mean_over_all_orders(items: list[tuple[int, bool]], k: int) -> None:
    scores = np.array([float(score) for score, _ in items])
    relevant = np.array([is_relevant for _, is_relevant in items])
    ours = ndcg_and_recall_at_k(torch.tensor(scores)[None], torch.tensor(relevant)[None], k)
    if not relevant.any():
        assert all(math.isnan(value.item()) for value in ours)
        return
    np.testing.assert_allclose(
        [value.item() for value in ours], brute_force(scores, relevant, k), rtol=1e-6
    )


def test_a_scorer_that_knows_nothing_gets_nothing_for_the_order_of_ids() -> None:
    # 100 equal scores, the relevant item is id 0: found at a random place.
    scores, relevant = torch.zeros(1, 100), torch.zeros(1, 100, dtype=torch.bool)
    relevant[0, 0] = True
    assert recall_at_k(scores, relevant, 10).item() == pytest.approx(0.1)


def test_both_forms_of_relevance_agree() -> None:
    rng = np.random.default_rng(0)
    scores, relevant = torch.tensor(rng.normal(size=(30, 40))), rng.random((30, 40)) < 0.1
    for metric in (ndcg_at_k, recall_at_k):
        torch.testing.assert_close(
            metric(scores, as_rows(relevant), 10),
            metric(scores, torch.tensor(relevant), 10),
            equal_nan=True,
            rtol=0,
            atol=0,
        )


def test_a_user_without_relevant_items_is_nan_and_does_not_touch_others() -> None:
    scores = torch.tensor([[3.0, 2, 1], [3, 2, 1]])
    values = ndcg_at_k(scores, torch.tensor([[False] * 3, [True, False, False]]), 2)
    assert math.isnan(values[0].item())
    assert values[1].item() == 1


def test_minus_infinity_is_no_candidate() -> None:
    scores = torch.tensor([[-torch.inf, 1.0, -torch.inf, 0.0]])
    # Fewer candidates than positions: the relevant excluded item is not found by the way.
    assert recall_at_k(scores, torch.tensor([[True, False, False, True]]), 4).item() == 0.5


def test_nan_is_an_error_and_not_a_top_rank() -> None:
    scores = torch.tensor([[1.0, 2.0], [torch.nan, 1.0]])
    with pytest.raises(ValueError, match="row 1 contain NaN"):
        ndcg_at_k(scores, torch.ones(2, 2, dtype=torch.bool), 1)


@pytest.mark.parametrize(
    ("shape", "relevant", "k", "message"),
    [
        ((2, 3), torch.ones(3, 2), 1, "one shape"),
        ((2, 3), torch.ones(2, 3), 0, "k must be at least 1, got 0"),
        ((3,), torch.ones(3), 1, "must be"),
        ((2, 3), (torch.tensor([0, 1]), torch.tensor([0])), 1, "offsets must be"),
        ((1, 3), (torch.tensor([0, 1]), torch.tensor([3])), 1, r"\[0, 3\)"),
    ],
)
def test_bad_input_is_named(shape: tuple[int, ...], relevant: object, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ndcg_at_k(torch.zeros(shape), relevant, k)  # type: ignore[arg-type]


# --- metrics of labelled rows: against scikit-learn, and by counting pairs ---


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
