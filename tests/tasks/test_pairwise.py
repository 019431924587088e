from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks import HeldOut, Histories, PairwiseOptions, evaluate, fit
from memcom.tasks.pairwise import pairwise_loss, ranknet_loss
from memcom.tasks.rankers import HistoryRanker, ItemBias, MostPopular
from tests.tasks.data import planted

QUICK = PairwiseOptions(
    epochs=20, batch_size=50, learning_rate=3e-2, weight_decay=0.0, num_samples=40
)


def trained(name: str = "full", seed: int = 0, **changes: object) -> HistoryRanker:
    data = planted()
    torch.manual_seed(0)
    budget = {} if name == "full" else {"ratio": 2}
    model = HistoryRanker(
        memcom.build(name, data.num_items, 8, **budget), item_counts=data.item_counts
    )
    fit(model, data, QUICK, seed=seed, **changes)
    return model


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


@pytest.mark.parametrize("popularity", [0.0, 0.75])
def test_planted_taste_is_found_where_controls_find_none(popularity: float) -> None:
    data = planted()
    held_out = HeldOut.of(data, "test")
    bias = ItemBias(60, item_counts=data.item_counts)
    fit(bias, data, QUICK)
    controls = [
        float(evaluate(m, held_out).ndcg.mean()) for m in (bias, MostPopular(data.item_counts))
    ]
    found = float(evaluate(trained(popularity=popularity), held_out).ndcg.mean())
    assert found > 1.5 * max(controls)


@pytest.mark.parametrize("name", ["full", "memcom"])
def test_one_seed_gives_one_model_and_another_another(name: str) -> None:
    once, again, other = (
        trained(name, epochs=4),
        trained(name, epochs=4),
        trained(name, 1, epochs=4),
    )
    assert torch.equal(once.output.weight, again.output.weight)
    assert torch.equal(once.embedding.table, again.embedding.table)
    assert not torch.equal(once.embedding.table, other.embedding.table)


def test_nothing_to_learn_is_not_trained() -> None:
    record = fit(MostPopular(planted().item_counts), planted(), QUICK)
    assert (record.best_epoch, record.epochs) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"num_samples": 0}, "num_samples"), ({"popularity": -1.0}, "popularity")],
)
def test_bad_options_are_named(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairwiseOptions(**changes)
