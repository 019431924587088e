from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from memcom.tasks import (
    Histories,
    HistoryRanker,
    ItemBias,
    pairwise_loss,
    ranknet_loss,
    sampled_softmax_loss,
    softmax_loss,
)

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


def test_gradient_is_the_probability_minus_the_share_of_the_label() -> None:
    twice = Histories.from_lengths(torch.tensor([1, 3, 0]), torch.tensor([1, 2, 6, 2]))
    control = ItemBias(8)
    torch.nn.init.normal_(control.bias)
    softmax_loss(control, GIVEN, twice).backward()
    expected = np.zeros(8)
    for given, items in ([0, 3], [1]), ([5], [2, 6, 2]):
        scores = control.bias.detach().double().numpy().copy()
        scores[given] = -np.inf
        labels = np.bincount(items, minlength=8) / len(items)
        expected += (np.exp(scores) / np.exp(scores).sum() - labels) / 2  # two users have labels
    np.testing.assert_allclose(control.bias.grad.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_nothing_held_out_is_zero_and_trains_nothing() -> None:
    empty = Histories.from_lengths(torch.tensor([0, 0, 0]), torch.tensor([], dtype=torch.int64))
    control = ItemBias(8)
    loss = softmax_loss(control, GIVEN, empty)
    loss.backward()
    assert loss.item() == 0
    assert not control.bias.grad.any()


def test_the_loss_of_a_pair_is_that_of_the_paper() -> None:
    difference = np.array([-3.0, -0.5, 0.0, 2.0])
    above = np.array([1.0, 0.0, 0.5, 0.25])
    sigma = 1 / (1 + np.exp(-difference))
    expected = -(above * np.log(sigma) + (1 - above) * np.log(1 - sigma))
    ours = ranknet_loss(torch.tensor(difference), torch.tensor(above))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    # log(1 + exp(1000)) is 1000, though exp(1000) is not finite.
    assert ranknet_loss(torch.tensor(-1000.0)).item() == 1000


def test_pairs_are_those_of_held_out_items_and_items_the_user_does_not_have() -> None:
    model = ItemBias(6)
    with torch.no_grad():
        model.bias.copy_(torch.tensor([0.3, -1.0, 2.0, 0.5, 0.0, 1.5]))
    given = Histories(torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 5]))
    held_out = Histories(torch.tensor([0, 2, 3, 3]), torch.tensor([2, 3, 4]))
    samples = torch.tensor([0, 3, 4, 4])
    s = model.bias.tolist()

    def pair(i: int, j: int) -> float:
        return math.log1p(math.exp(s[j] - s[i]))

    # User 0 has 0, 2, 3, so that 4 is left, twice. User 1 has 1, 4. User 2 has nothing held out.
    first = np.mean([pair(i, 4) for i in (2, 3) for _ in range(2)])
    second = np.mean([pair(4, 0), pair(4, 3)])
    loss = pairwise_loss(model, given, held_out, samples)
    assert loss.item() == pytest.approx((first + second) / 2)


def test_no_pair_is_no_loss() -> None:
    one = Histories(torch.tensor([0, 1]), torch.tensor([0]))
    other = Histories(torch.tensor([0, 1]), torch.tensor([1]))
    loss = pairwise_loss(ItemBias(3), one, other, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == 0
