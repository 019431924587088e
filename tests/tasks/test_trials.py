from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks import (
    ModelOptions,
    TrainingError,
    TrainingOptions,
    Trial,
    build_ranker,
    train_trial,
)
from tests.tasks.data import planted

QUICK = TrainingOptions(epochs=4, batch_size=50, evaluate_every=2)
SMALL = ModelOptions(embedding_dim=8)


def trial(method: str, ratio: float | None = 2, seed: int = 0) -> Trial:
    return Trial(method, ratio, seed, SMALL, QUICK)


def test_bytes_are_those_of_the_layer_and_within_the_budget() -> None:
    result = train_trial(trial("memcom"), planted())
    layer = memcom.build("memcom", 60, 8, ratio=2)
    assert result.nbytes == layer.nbytes <= 60 * 8 * 4 / 2
    assert result.compression_ratio == 60 * 8 * 4 / layer.nbytes
    assert result.output_nbytes == 4 * (60 * 8 + 60)
    assert len(result.ndcg) == len(result.recall) == 200


def test_options_in_the_name_reach_the_layer() -> None:
    model = build_ranker(trial("qr(operation=concat)"), planted())
    assert model.embedding.operation == "concat"


def test_a_build_depends_on_the_seed_and_on_nothing_before() -> None:
    torch.manual_seed(1)
    one = build_ranker(trial("hash"), planted())
    torch.manual_seed(2)
    two = build_ranker(trial("hash"), planted())
    three = build_ranker(trial("hash", seed=1), planted())
    assert torch.equal(one.embedding.materialize(), two.embedding.materialize())
    assert not torch.equal(one.embedding.materialize(), three.embedding.materialize())


@pytest.mark.parametrize(
    ("failing", "error", "reason"),
    [
        (trial("memcom", ratio=50), memcom.BudgetError, "memcom cannot store 60 x 8"),
        (trial("no-such"), ValueError, "no compressor"),
        (
            replace(trial("hash"), training=replace(QUICK, learning_rate=1e30)),
            TrainingError,
            "learning rate may be too large",
        ),
    ],
)
def test_a_trial_that_cannot_be_says_why(
    failing: Trial, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        train_trial(failing, planted())


def test_what_is_measured_is_the_frozen_layer() -> None:
    """A layer that trains more than it ships is scored, and counted, as shipped."""
    result = train_trial(trial("hash(bits=8)"), planted())
    plan = memcom.plan("hash", 60, 8, ratio=2, bits=8)
    assert result.nbytes == plan.nbytes


def test_signatures_come_from_the_training_part() -> None:
    data = planted()
    layer = build_ranker(trial("lma"), data).embedding
    trained = data.split == 0
    expected = memcom.minhash_signatures(data.item[trained], data.user[trained], 60)
    assert torch.equal(layer.signatures, expected)
    behind = build_ranker(trial("lma(head=7)"), data).embedding.tail
    assert torch.equal(behind.signatures, expected[7:])


@pytest.mark.parametrize("method", ["lhf", "amtl"])
def test_a_layer_is_told_what_it_learns_before_training(method, monkeypatch) -> None:
    told = train_trial(trial(method), planted())
    monkeypatch.setattr("memcom.tasks.trials.prepare", lambda *args, **options: None)
    untold = train_trial(trial(method), planted())
    assert told.nbytes == untold.nbytes or method == "amtl"
    assert not np.array_equal(told.ndcg, untold.ndcg)


@pytest.mark.parametrize("method", ["pep", "scall(head=5)", "fiited(bits=8)", "cce"])
def test_tables_that_change_while_they_train_end_within_the_budget(method: str) -> None:
    result = train_trial(trial(method), planted())
    assert 0 < result.nbytes <= 60 * 8 * 4 / 2
