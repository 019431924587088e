from __future__ import annotations

import numpy as np
import pytest
import torch

from memcom.tasks import Histories, sampled_softmax_loss, softmax_loss
from memcom.tasks.rankers import HistoryRanker, ItemBias

GIVEN = Histories.from_lengths(torch.tensor([2, 1, 1]), torch.tensor([0, 3, 5, 2]))
HELD_OUT = Histories.from_lengths(torch.tensor([1, 2, 0]), torch.tensor([1, 2, 6]))


def model() -> HistoryRanker:
    torch.manual_seed(0)
    return HistoryRanker(torch.nn.Embedding(8, 4))


def test_exact_loss_equals_the_formula() -> None:
    scores = model()(GIVEN.items, GIVEN.offsets).detach().double().numpy()
    inputs, wanted = [[0, 3], [5], [2]], [[1], [2, 6], []]
    losses = []
    for row, given, items in zip(scores, inputs, wanted, strict=True):
        others = np.delete(row, given)
        if items:
            losses.append(np.mean([np.log(np.exp(others).sum()) - row[i] for i in items]))
    loss = softmax_loss(model(), GIVEN, HELD_OUT).item()
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("popularity", [0.0, 1.0])
def test_sampled_loss_converges_to_the_softmax_whatever_is_sampled(popularity: float) -> None:
    """With many samples the sum over them is the sum over all items the user does not have."""
    scores = model()(GIVEN.items, GIVEN.offsets).detach().double().numpy()
    has, wanted = [[0, 1, 3], [2, 5, 6]], [[1], [2, 6]]
    losses = []
    for row, items, targets in zip(scores, has, wanted, strict=False):
        others = np.exp(np.delete(row, items)).sum()
        losses.append(np.mean([np.log(np.exp(row[i]) + others) - row[i] for i in targets]))

    q = (np.arange(8) + 1.0) ** -popularity
    q = torch.tensor(q / q.sum(), dtype=torch.float32)
    samples = torch.multinomial(q, 200_000, replacement=True)
    loss = sampled_softmax_loss(model(), GIVEN, HELD_OUT, samples, q.log()).item()
    assert loss == pytest.approx(np.mean(losses), rel=5e-3)


def test_without_log_q_popular_items_would_count_too_often() -> None:
    """The control of the test above: a uniform correction of skewed samples is far off."""
    q = torch.tensor([0.65] + [0.05] * 7)
    samples = torch.multinomial(q, 200_000, replacement=True)
    args = (model(), GIVEN, HELD_OUT, samples)
    wrong = sampled_softmax_loss(*args, torch.full((8,), 1 / 8).log()).item()
    right = sampled_softmax_loss(*args, q.log()).item()
    assert abs(wrong - right) > 0.05 * right


def test_gradients_reach_the_embedding_and_not_what_is_masked() -> None:
    ranker = model()
    softmax_loss(ranker, GIVEN, HELD_OUT).backward()
    read = ranker.embedding.weight.grad.abs().sum(1) > 0
    assert read.tolist() == [i in (0, 3, 5) for i in range(8)]  # item 2's user has no label
    assert torch.isfinite(ranker.output.weight.grad).all()


def test_nothing_held_out_is_zero_and_trains_nothing() -> None:
    empty = Histories.from_lengths(torch.tensor([0, 0, 0]), torch.tensor([], dtype=torch.int64))
    control = ItemBias(8)
    loss = softmax_loss(control, GIVEN, empty)
    loss.backward()
    assert loss.item() == 0
    assert not control.bias.grad.any()
