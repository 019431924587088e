from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks import (
    HeldOut,
    HistoryRanker,
    ItemBias,
    MostPopular,
    PairwiseOptions,
    TrainingError,
    TrainingOptions,
    evaluate,
    fit,
)
from tests.tasks.data import planted

EFFORT = {"epochs": 20, "batch_size": 50, "learning_rate": 3e-2, "weight_decay": 0.0}
QUICK = TrainingOptions(**EFFORT)
PAIRWISE = PairwiseOptions(**EFFORT, num_samples=40)


def trained(
    name: str = "full", seed: int = 0, options: TrainingOptions = QUICK, **changes: object
) -> HistoryRanker:
    data = planted()
    torch.manual_seed(0)
    budget = {} if name == "full" else {"ratio": 2}
    model = HistoryRanker(
        memcom.build(name, data.num_items, 8, **budget), item_counts=data.item_counts
    )
    fit(model, data, options, seed=seed, **changes)
    return model


def ndcg(model: HistoryRanker | ItemBias | MostPopular) -> float:
    return float(evaluate(model, HeldOut.of(planted(), "test")).ndcg.mean())


@pytest.mark.parametrize(
    "options",
    [
        QUICK,
        replace(QUICK, num_samples=40),
        replace(PAIRWISE, popularity=0.0),
        replace(PAIRWISE, popularity=0.75),
    ],
    ids=["softmax", "sampled", "ranknet-uniform", "ranknet"],
)
def test_planted_taste_is_found_where_controls_find_none(options: TrainingOptions) -> None:
    bias = ItemBias(60, item_counts=planted().item_counts)
    fit(bias, planted(), options)
    controls = max(ndcg(bias), ndcg(MostPopular(planted().item_counts)))
    assert ndcg(trained(options=options)) > 1.5 * controls


@pytest.mark.parametrize("options", [QUICK, PAIRWISE], ids=["softmax", "ranknet"])
@pytest.mark.parametrize("name", ["full", "memcom", "qr", "hash", "bch"])
def test_one_seed_gives_one_model(name: str, options: TrainingOptions) -> None:
    once, again = (trained(name, options=options, epochs=4) for _ in range(2))
    for key, value in once.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_another_seed_gives_another_model_and_the_callers_generator_is_left_alone() -> None:
    for options in (QUICK, PAIRWISE):
        tables = [trained("full", seed, options, epochs=3).embedding.table for seed in (0, 1)]
        assert not torch.equal(*tables)
    model = HistoryRanker(memcom.build("full", 60, 8), dropout=0.5)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit(model, planted(), QUICK, epochs=2)
    assert torch.equal(torch.rand(1), expected)


def test_the_test_part_plays_no_role() -> None:
    data = planted()
    shuffled = data.item.copy()
    test = data.split == 2
    shuffled[test] = np.random.default_rng(1).integers(0, data.num_items, test.sum())
    other = replace(data, item=shuffled)
    models, fits = [], []
    for each in (data, other):
        torch.manual_seed(0)
        models.append(HistoryRanker(memcom.build("full", 60, 8)))
        fits.append(fit(models[-1], each, QUICK, epochs=10))
    assert fits[0].curve == fits[1].curve
    assert fits[0].best_epoch == fits[1].best_epoch
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_model_ends_with_the_weights_of_its_best_epoch() -> None:
    data = planted()
    model = HistoryRanker(memcom.build("full", 60, 8), item_counts=data.item_counts)
    # So large a rate soon makes things worse again.
    record = fit(model, data, QUICK, learning_rate=0.3, epochs=60, patience=20, evaluate_every=2)
    valid = float(evaluate(model, HeldOut.of(data, "valid")).ndcg.mean())
    assert valid == pytest.approx(record.valid)
    assert record.valid == max(score for _, _, score in record.curve)
    assert record.epochs in (60, record.best_epoch + 20)


def test_patience_counts_epochs() -> None:
    data = planted()
    control = ItemBias(60, item_counts=data.item_counts)
    # Nothing moves, so the first look stays the best.
    record = fit(control, data, QUICK, learning_rate=1e-30, patience=8, evaluate_every=2, epochs=50)
    assert (record.best_epoch, record.epochs) == (2, 10)


def test_weight_decay_spares_the_output_bias() -> None:
    data = planted()
    model = HistoryRanker(memcom.build("full", 60, 8), item_counts=data.item_counts)
    bias = model.output_bias.detach().clone()
    table = model.embedding.table.detach().clone()
    fit(model, data, QUICK, learning_rate=1e-8, weight_decay=1e6, epochs=1)
    torch.testing.assert_close(model.output_bias.detach(), bias, atol=1e-6, rtol=0)
    assert model.embedding.table.norm() < 0.99 * table.norm()


def test_nothing_to_learn_is_not_trained() -> None:
    for options in (QUICK, PAIRWISE):
        record = fit(MostPopular(planted().item_counts), planted(), options)
        assert (record.best_epoch, record.epochs, record.curve) == (0, 0, [])


def test_a_diverged_loss_is_an_error() -> None:
    model = HistoryRanker(memcom.build("full", 60, 8))
    with torch.no_grad():
        model.embedding.table.fill_(torch.inf)
    with pytest.raises(TrainingError, match="learning rate"):
        fit(model, planted(), QUICK)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs.*0"),
        ({"held_out": 1.0}, "held_out.*1.0"),
        ({"learning_rate": 0.0}, "learning_rate.*0.0"),
        ({"popularity": -1.0}, "popularity.*-1.0"),
    ],
)
def test_bad_options_are_named(changes: dict[str, float], message: str) -> None:
    for options in (QUICK, PAIRWISE):
        with pytest.raises(ValueError, match=message):
            fit(ItemBias(60), planted(), options, **changes)
    with pytest.raises(ValueError, match=r"num_samples.*0"):
        PairwiseOptions(num_samples=0)


def test_a_model_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="59 items, planted has 60"):
        fit(ItemBias(59), planted(), QUICK)
