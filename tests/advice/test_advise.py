"""Advice on one's own data: the halving, its resumption, and what it says."""

from __future__ import annotations

import importlib
import math

import pytest

import memcom
from memcom.advice import Stage
from memcom.data import load
from memcom.plots import quality_against_bytes
from memcom.sweep import Store

module = importlib.import_module("memcom.advice.advise")
SECOND = 1 / 60  # in minutes


@pytest.fixture(scope="module")
def data():
    return load("synthetic", num_users=60, num_items=600)


@pytest.fixture(autouse=True)
def known_times(monkeypatch):
    """An epoch takes a hundredth of a second, as far as the probe says."""
    monkeypatch.setattr(module, "probe_seconds", lambda table: lambda epochs: 0.01 * epochs)


def ask(data, folder, **changes):
    options = {"ratio": 8, "minutes": 1.7 * SECOND, "engine": "local", "progress": False}
    return memcom.advise(data, out=folder, **options | changes)


@pytest.fixture(scope="module")
def asked(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("advise")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "probe_seconds", lambda table: lambda epochs: 0.01 * epochs)
        return ask(data, folder, draw=quality_against_bytes), folder


def test_every_stage_has_half_the_methods_and_twice_the_epochs():
    assert module.stages(6, 100) == [Stage(6, 25, 1), Stage(3, 50, 1), Stage(2, 100, 3)]
    assert module.stages(1, 9) == [Stage(1, 3, 1), Stage(1, 5, 1), Stage(1, 9, 3)]
    assert Stage(6, 25, 1).trials == 7 * 2  # two rates
    assert Stage(2, 100, 3).trials == 3 * (2 + 2)  # and two more seeds of the better one


def test_the_longest_training_that_fits_is_taken(asked):
    """With five or six methods 8 epochs take 1.4 to 1.56 s of the 1.7, 9 take more than that."""
    advice, folder = asked
    assert max(each.epochs for each in advice.tried) == 8
    records = list(Store(folder).records())
    assert {r.trial.options["epochs"] for r in records} == {2, 4, 8}


def test_validation_decides_who_goes_on(asked):
    advice, folder = asked
    methods = {e.row.method: e for e in advice.tried if e.row.ratio is not None}
    best = {}
    for record in Store(folder).records():
        trial = record.trial
        if trial.method in methods and trial.seed == 0 and record.outcome:
            key = trial.options["epochs"], trial.method
            best[key] = max(best.get(key, -math.inf), record.outcome.valid)
    for short, long in ((2, 4), (4, 8)):
        ran = {m: v for (e, m), v in best.items() if e == short}
        went_on = {m for e, m in best if e == long}
        assert went_on == set(sorted(ran, key=ran.get)[-len(went_on) :])
    assert {e.epochs for e in methods.values()} == {2, 4, 8}


def test_the_best_fits_the_budget_and_the_line_builds_it(asked, data):
    advice, _ = asked
    assert advice.best.nbytes <= advice.budget == 4 * 64 * data.num_items / 8
    fitting = [e.row for e in advice.tried if e.epochs == 8 and 0 < e.row.nbytes <= advice.budget]
    assert advice.best.valid == max(row.valid for row in fitting)
    layer = eval(advice.line, {"memcom": memcom})
    assert layer.frozen_nbytes == advice.best.nbytes
    text = str(advice)
    assert text.startswith(f"Take {advice.best.method}: in ")
    assert text.endswith(advice.line)
    assert all(each.row.method in text for each in advice.tried)


def test_the_picture_is_written(asked):
    advice, folder = asked
    (picture,) = [path for kind, path in advice.files.items() if kind.startswith("picture")]
    assert picture.parent == folder
    assert picture.stat().st_size > 1000


def test_an_interrupted_run_resumes(asked, data, monkeypatch):
    advice, folder = asked
    kept = sorted(folder.rglob("*.json"))[::2]
    for path in kept:
        if path.name != "advise.json":
            path.unlink()
    monkeypatch.setattr(module, "probe_seconds", None)  # the epochs are known
    again = ask(data, folder)
    assert again.best.method == advice.best.method
    assert [e.row.valid for e in again.tried] == [e.row.valid for e in advice.tried]


def test_too_little_time_says_how_much_would_do(data, tmp_path):
    with pytest.raises(ValueError, match=r"minutes do not suffice: 8 epochs of . methods take"):
        ask(data, tmp_path, minutes=0.1 * SECOND)
    assert not (tmp_path / "advise.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratio": None}, "give ratio or nbytes"),
        ({"nbytes": "1 kB"}, "give ratio or nbytes"),
        ({"minutes": 0}, "minutes"),
        ({"ratio": 10_000}, "ratio=10000"),
    ],
)
def test_what_makes_no_sense_is_named(data, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        ask(data, tmp_path, **changes)


def test_a_set_without_users_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a ranker needs users"):
        ask("synthetic-clicks", tmp_path)
