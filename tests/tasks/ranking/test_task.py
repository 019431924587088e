from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import memcom
from memcom.data import load
from memcom.sweep import Spec, Store, summarise
from memcom.sweep import run as run_sweep
from memcom.sweep.caveats import caveats
from memcom.tasks import (
    HeldOut,
    HistoryRanker,
    Outcome,
    Setting,
    TrainingError,
    TrainingOptions,
    evaluate,
    fit,
    get_task,
)
from memcom.tasks.ranking.task import RankingRun
from tests.tasks.data import planted

EFFORT = {"epochs": 4, "batch_size": 50, "evaluate_every": 2}


def setting(method: str, ratio: float | None = 2, seed: int = 0, **options: Any) -> Setting:
    options = {"embedding_dim": 8, **EFFORT, **options}
    return Setting("ranking", method, ratio, seed=seed, options=options)


def run(method: str, *args: Any, **options: Any) -> Outcome:
    return get_task("ranking").run(setting(method, *args, **options), planted(), "cpu")


def built(method: str, seed: int = 0) -> HistoryRanker:
    ranking = RankingRun(setting(method, seed=seed), planted())
    return ranking.build(ranking.plans())


def test_an_outcome_is_that_of_the_model_built_and_trained_by_hand() -> None:
    data = planted()
    torch.manual_seed(3)
    layer = memcom.build("hash", 60, 8, ratio=2, bits=8)
    model = HistoryRanker(layer, dropout=0.1, item_counts=data.item_counts)
    record = fit(model, data, TrainingOptions(**EFFORT), seed=3)
    model.embedding = layer.freeze()
    found = evaluate(model, HeldOut.of(data, "test"))
    outcome = run("hash(bits=8)", 2, 3, dropout=0.1)
    assert np.array_equal(outcome.units["ndcg"], found.ndcg)
    assert np.array_equal(outcome.units["recall"], found.recall)
    assert (outcome.valid, outcome.best_epoch) == (record.valid, record.best_epoch)
    assert outcome.size.nbytes == model.embedding.nbytes == layer.frozen_nbytes
    assert outcome.output_nbytes == 4 * (60 * 8 + 60)
    rows = model.embedding.materialize().numpy()
    assert outcome.metrics["num_distinct"] == len(np.unique(rows, axis=0))
    energy = np.linalg.svd(rows, compute_uv=False)
    assert outcome.metrics["abundance"] == pytest.approx(energy.sum() / energy.max(), rel=1e-4)


def test_a_build_depends_on_the_seed_and_on_nothing_before() -> None:
    torch.manual_seed(1)
    one = built("hash").embedding.materialize()
    torch.manual_seed(2)
    assert torch.equal(one, built("hash").embedding.materialize())
    assert not torch.equal(one, built("hash", seed=1).embedding.materialize())


def test_options_in_the_name_reach_the_layer() -> None:
    assert built("qr(operation=concat)").embedding.operation == "concat"


@pytest.mark.parametrize(
    ("failing", "error", "reason"),
    [
        (setting("memcom", ratio=50), memcom.BudgetError, "memcom cannot store 60 x 8"),
        (setting("no-such"), ValueError, "no compressor"),
        (setting("hash", colour=1), TypeError, "colour"),
        (replace(setting("hash"), learning_rate=1e30), TrainingError, "learning rate"),
    ],
)
def test_a_setting_that_cannot_be_trained_says_why(
    failing: Setting, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        get_task("ranking").run(failing, planted(), "cpu")


def test_signatures_come_from_the_training_part() -> None:
    data = planted()
    trained = data.split == 0
    expected = memcom.minhash_signatures(data.item[trained], data.user[trained], 60)
    assert torch.equal(built("lma").embedding.signatures, expected)
    assert torch.equal(built("lma(head=7)").embedding.tail.signatures, expected[7:])


@pytest.mark.parametrize("method", ["lhf", "amtl"])
def test_a_table_is_prepared_before_training(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = run(method)
    monkeypatch.setattr("memcom.tasks._run.prepare", lambda *args, **options: None)
    unprepared = run(method)
    assert prepared.size == unprepared.size or method == "amtl"
    assert not np.array_equal(prepared.units["ndcg"], unprepared.units["ndcg"])


@pytest.mark.parametrize("method", ["pep", "scall(head=5)", "fiited(bits=8)", "cce"])
def test_tables_that_change_while_they_train_end_within_the_budget(method: str) -> None:
    assert 0 < run(method).size.nbytes <= 60 * 8 * 4 / 2


def test_times_are_ratios_and_only_tables_have_them() -> None:
    task = get_task("ranking")
    times = task.time(setting("memcom"), planted())
    assert times.keys() == {"lookup_time", "step_time"}
    assert all(0 < ratio < 100 for ratio in times.values())
    with pytest.raises(ValueError, match="popular"):
        task.time(setting("popular", None), planted())


@pytest.mark.slow
def test_movielens_carries_signal(tmp_path: Path) -> None:
    """The full table clearly beats both controls within a short training."""
    alone = Spec(methods=(), ratios=(), seeds=1, profile="fast")
    (table,) = run_sweep(alone, tmp_path, data=load("movielens"), progress=False)
    about_signal = caveats(table, summarise(table, Store(tmp_path)))[0]
    assert "clearly above" in about_signal
    assert "WARNING" not in about_signal


@pytest.mark.parametrize("method", ["full", "qr", "memcom", "low-rank"])
def test_rows_start_with_the_spread_that_was_asked_for(method: str) -> None:
    ratio = None if method == "full" else 2
    ranking = RankingRun(setting(method, ratio, embedding_dim=32, std=0.05), planted())
    table = ranking.build(ranking.plans()).embedding.materialize()
    assert float(table.std()) == pytest.approx(0.05, rel=0.25)


def test_a_spread_of_one_draws_what_is_drawn_without_it() -> None:
    plain, named = (
        RankingRun(setting("memcom", **options), planted()) for options in ({}, {"std": 1.0})
    )
    states = [ranking.build(ranking.plans()).state_dict() for ranking in (plain, named)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_tail_like_the_papers_learns_what_is_planted() -> None:
    options = {"embedding_dim": 16, "hidden": [16], "batch_norm": True, "dropout": 0.1, "std": 0.1}
    effort = {"epochs": 30, "weight_decay": 0.0}
    tail = run("memcom", **options, **effort)
    popular = run("popular", None)
    assert tail.metrics["ndcg"] > 1.3 * popular.metrics["ndcg"]


def test_a_trained_full_table_is_measured_in_8_and_4_bits_too() -> None:
    outcome = run("full", None)
    assert list(outcome.derived) == ["int8", "int4"]
    ranking = RankingRun(setting("full", None), planted())
    model = ranking.prepared()
    ranking.fit(model)
    table = model.embedding.materialize()
    for name, bits in (("int8", 8), ("int4", 4)):
        low, high = table.aminmax(dim=1, keepdim=True)
        scale = ((high - low) / (2**bits - 1)).half().float()
        rounded = low.half().float() + scale * torch.round((table - low.half().float()) / scale)
        by_hand = copy.deepcopy(model)
        by_hand.embedding = torch.nn.Embedding.from_pretrained(rounded)
        expected = evaluate(by_hand, HeldOut.of(planted(), "test")).ndcg
        derived = outcome.derived[name]
        assert derived.units["ndcg"].mean() == pytest.approx(float(expected.mean()), abs=0.01)
        assert derived.size.nbytes == 60 * (8 * bits // 8 + 4)
        assert derived.output_nbytes == outcome.output_nbytes
    assert not run("hash").derived
