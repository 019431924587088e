from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from memcom.tasks.metrics import ndcg_and_recall_at_k, ndcg_at_k, recall_at_k


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
