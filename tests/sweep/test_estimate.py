"""Dry runs: bytes and times without running what they count."""

from __future__ import annotations

import pytest

from memcom._files import shipped
from memcom.sweep import Record, Spec, dry_run, estimate, read_rows, run, tables
from memcom.sweep.trial import run_trial
from memcom.tasks import Outcome, Size
from tests.sweep.toy import spec


def test_a_dry_run_plans_bytes_and_runs_nothing(tmp_path, data):
    text = dry_run(list(tables(spec(ratios=(2, 40)), data)), tmp_path, probe=False)
    assert not list(tmp_path.iterdir())
    (full,) = [line.split() for line in text.splitlines() if line.startswith("  full")]
    assert full[1:5] == [f"{4 * 16 * data.num_items:,}", "1.00", "2", "2"]
    lines = [line for line in text.splitlines() if line.startswith("  memcom")]
    assert ["cannot be that small" in line for line in lines] == [False, True]
    assert "?" in text


def test_a_dry_run_knows_what_is_done_and_how_long_it_took(tmp_path, data):
    run(spec(), tmp_path, data=data, progress=False)
    text = dry_run(list(tables(spec(seeds=5), data)), tmp_path, probe=False)
    assert ", 4 done" in text
    assert "?" not in text
    last = text.splitlines()[-1]
    assert last.startswith(f"{1 + 11 * 6} trials, {11 * 2} of them for tuning; about ")


def test_times_differ_by_method_and_by_epochs(tmp_path, data, monkeypatch):
    (table,) = tables(spec(methods=["memcom", "dpq"], ratios=(2,), options={"epochs": 9}), data)
    record, now = run_trial(table.cells[1].first, data), [0.0]

    def probed(trial, *_):
        now[0] += 1.5 + 0.5 * trial.options["epochs"]
        return record

    monkeypatch.setattr(estimate, "run_trial", probed)
    monkeypatch.setattr(estimate.time, "process_time", lambda: now[0])
    monkeypatch.setattr(estimate, "devices", lambda: ["cpu"])
    monkeypatch.setattr(estimate, "step_shares", lambda: {"dpq": 8.0, "truncate": 0.5})
    found = {line.split()[0]: line for line in dry_run([table], tmp_path).splitlines() if line}
    each = 2 + 8 * 0.5
    for method, share in (("full", 1), ("memcom", 1), ("truncate", 0.5)):
        assert found[method].endswith(f" {4 * share * each:.0f} s")
    assert found["dpq"].endswith(" 3 min")  # 4 trials of 48 s
    assert found["popular"].endswith(" 0 s")


def test_shares_are_those_of_the_committed_sweep():
    rows = read_rows(shipped("experiments/results/every-method"))
    times = rows[rows["method"] == "dhe"]["step_time"].dropna()
    assert estimate.step_shares()["dhe"] == pytest.approx(times.median())
    assert estimate.step_shares()["full"] == pytest.approx(1, abs=0.1)


def test_a_probe_tells_validations_from_epochs(data, monkeypatch):
    options = {"epochs": 40, "evaluate_every": 10}
    (table,) = tables(Spec(methods=(), ratios=(), options=options), data)
    now = [0.0]

    def probed(trial, *_):
        epochs, every = trial.options["epochs"], trial.options["evaluate_every"]
        now[0] += 5 + 2 * epochs + 3 * -(-epochs // every)
        return Record(trial, outcome)

    outcome = Outcome({"ndcg": 0.5}, 0.5, Size(1, 1), 1)
    monkeypatch.setattr(estimate, "run_trial", probed)
    monkeypatch.setattr(estimate.time, "process_time", lambda: now[0])
    monkeypatch.setattr(estimate, "devices", lambda: ["cpu"])
    assert estimate.probe_seconds(table)(40) == pytest.approx(5 + 2 * 40 + 3 * 4)
