"""Trials: one key for what decides the outcome, and records that come back exactly."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from memcom.sweep import Record, Source, Trial, tables
from memcom.sweep import trial as trials
from tests.sweep import toy


@pytest.fixture
def trial():
    source = Source("films.csv", {"user_col": "u"}, "ab" * 32)
    options = {"hidden": []}
    return Trial("ranking", "qr(operation='mult')", 4.0, None, 1, 0.01, options, source=source)


def test_the_key_is_a_hash_of_the_configuration(trial):
    text = (
        '{"data":{"checksum":"' + "ab" * 32 + '","name":"films.csv","options":{"user_col":"u"}},'
        '"setting":{"learning_rate":0.01,"method":"qr(operation=\'mult\')","nbytes":null,'
        '"options":{"hidden":[]},"ratio":4.0,"seed":1,"task":"ranking"}}'
    )
    assert trial.key == hashlib.sha256(text.encode()).hexdigest()[:24]


def test_every_field_changes_the_key(trial):
    replace = dataclasses.replace
    changed = [
        replace(trial, method="hash"),
        replace(trial, ratio=None, nbytes=40),
        replace(trial, ratio=5.0),
        replace(trial, seed=2),
        replace(trial, learning_rate=0.1),
        replace(trial, options={"hidden": [8]}),
        replace(trial, source=replace(trial.source, checksum="cd")),
        replace(trial, source=replace(trial.source, options={})),
        replace(trial, source=replace(trial.source, name="x")),
    ]
    assert len({each.key for each in [trial, *changed]}) == 10
    assert len({trial, replace(trial), *changed}) == 10  # and so they can be counted


def test_a_record_comes_back_exactly(trial):
    units = {"ndcg": np.array([0.1, 0.0, 1 / 3], np.float32), "none": np.empty(0, np.float32)}
    outcome = trials.Outcome({"ndcg": 0.1444}, 0.2, trials.Size(10, 40), 7, 3, units)
    record = Record(trial, outcome, seconds=1.5, about={"finished": "now"})
    again = Record.from_json(record.as_json())
    assert (again.trial, again.seconds, again.about) == (trial, 1.5, {"finished": "now"})
    assert again.outcome.units["ndcg"].dtype == np.float32
    for name, values in units.items():
        np.testing.assert_array_equal(again.outcome.units[name], values)
    assert dataclasses.replace(again.outcome, units={}) == dataclasses.replace(outcome, units={})
    failed = Record(trial, None, "ValueError: x", "Traceback", 1.5, {})
    assert Record.from_json(failed.as_json()) == failed


def a_trial(data):
    (table,) = tables(toy.spec(), data)
    return table.cells[-1].first


def test_a_run_notes_versions_and_gives_threads_back(data):
    before = torch.get_num_threads()
    record = trials.run_trial(a_trial(data), data)
    assert torch.get_num_threads() == before
    assert record.outcome is not None
    assert record.about["torch"] == torch.__version__
    assert record.about["device"] == "cpu"
    assert record.seconds > 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"metrics": {"score": np.nan}}, "score"),
        ({"metrics": {"score": "0.5"}}, "'0.5'"),
        ({"metrics": {"score": True}}, "True"),
        ({"metrics": {"score": torch.tensor([0.5])}}, "score"),
        ({"metrics": {}}, "metrics"),
        ({"metrics": {"other": 1.0}}, "no score, only other"),
        ({"valid": None}, "validation metric"),
        ({"valid": float("inf")}, "validation metric"),
        ({"size": trials.Size(-1, 4)}, "nbytes"),
        ({"output_nbytes": 1.5}, "output_nbytes"),
    ],
)
def test_a_measurement_that_is_no_number_is_a_failure(data, monkeypatch, change, word):
    def run(setting, loaded, device):
        return dataclasses.replace(toy.run(setting, loaded, device), **change)

    task = dataclasses.replace(toy.TASK, run=run)
    monkeypatch.setattr(trials, "get_task", lambda name: task)
    record = trials.run_trial(a_trial(data), data)
    assert record.outcome is None
    assert word in record.failed


def test_numbers_of_numpy_are_stored_as_plain_ones(data, monkeypatch):
    def run(setting, loaded, device):
        found = toy.run(setting, loaded, device)
        return dataclasses.replace(
            found,
            metrics={"score": np.float32(0.5)},
            valid=np.float64(0.25),
            best_epoch=np.int64(2),
        )

    task = dataclasses.replace(toy.TASK, run=run)
    monkeypatch.setattr(trials, "get_task", lambda name: task)
    record = trials.run_trial(a_trial(data), data)
    again = Record.from_json(json.loads(json.dumps(record.as_json())))
    assert again.outcome.metrics == {"score": 0.5}
    assert (again.outcome.valid, again.outcome.best_epoch) == (0.25, 2)


FIRST_OF_ITS_PROCESS = """
from memcom.data import load
from memcom.sweep import Spec, tables
from memcom.sweep.trial import run_trial
import json, sys

small = {"epochs": 2, "evaluate_every": 2, "batch_size": 8, "embedding_dim": 16}
spec = Spec(methods=["double-hash"], ratios=[2], profile="fast", options=small)
(table,) = tables(spec, load("synthetic", num_users=200, num_items=100))
for wanted in sys.argv[1:]:
    (cell,) = (cell for cell in table.cells if cell.first.method == wanted)
    outcome = run_trial(cell.first, table.data).outcome
print(json.dumps(outcome.metrics))
"""


def test_a_trial_gives_the_same_digits_whatever_its_process_ran_before():
    pytest.importorskip("numba")
    # Batches of 8 users are too small to load the compiled lookups; those of others load them.
    said = []
    for before in ([], ["full"]):
        words = [sys.executable, "-c", FIRST_OF_ITS_PROCESS, *before, "double-hash"]
        said.append(json.loads(subprocess.run(words, capture_output=True, check=True).stdout))
    assert said[0] == said[1]
    assert said[0]["abundance"] > 1


def test_what_is_derived_is_kept_with_its_trial(data, monkeypatch):
    monkeypatch.setenv("TOY_DERIVED", "1")
    table = next(tables(toy.spec(), data))
    trial = next(cell.first for cell in table.cells if cell.first.method == "full")
    record = trials.run_trial(trial, data)
    again = Record.from_json(json.loads(json.dumps(record.as_json())))
    (name, derived), (_, before) = again.outcome.derived.popitem(), *record.outcome.derived.items()
    assert name == "halved"
    assert derived.size == before.size
    assert np.array_equal(derived.units["score"], before.units["score"])
