"""The same store whatever runs the trials, and whatever dies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from memcom.data import load
from memcom.sweep import engines
from memcom.sweep.planning import tables
from memcom.sweep.running import sweep
from memcom.sweep.store import Store
from tests.sweep.test_sweep import contents, spec

ROOT = Path(__file__).parents[2]
RUN_BY = [("processes", "joblib", "stats"), ("ray", "ray", "cluster")]


@pytest.fixture(scope="module")
def data():
    return load("synthetic", num_users=60, num_items=100)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep(spec(), folder, data=data, progress=False)
    return contents(folder)


def job(data):
    (table,) = tables(spec(), data)
    return table.job(table.lines[-1].cell.setting)


def test_an_attempt_notes_versions_and_gives_threads_back(data):
    before = torch.get_num_threads()
    record = engines.attempt(job(data), data)
    assert torch.get_num_threads() == before
    assert record.outcome is not None
    assert record.about["torch"] == torch.__version__
    assert record.about["device"] == "cpu"
    assert record.seconds > 0


def test_a_metric_that_is_no_number_is_a_failure(data, monkeypatch):
    from tests.sweep import toy

    def run(setting, loaded, device):
        outcome = toy.run(setting, loaded, device)
        return type(outcome)(
            {"score": float("nan")}, outcome.valid, outcome.size, outcome.output_nbytes
        )

    task = toy.TASK
    monkeypatch.setattr(engines, "get_task", lambda name: type(task)(**vars(task) | {"run": run}))
    record = engines.attempt(job(data), data)
    assert record.outcome is None
    assert "score is no number" in record.failed


@pytest.mark.slow
def test_local_processes_survive_killed_workers(tmp_path, data, undisturbed, monkeypatch):
    pytest.importorskip("joblib")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TOY_KILL", str(tmp_path))  # some workers kill themselves, once per trial
    sweep(spec(), tmp_path / "out", data=data, engine="processes", jobs=2, progress=False)
    assert contents(tmp_path / "out") == undisturbed


@pytest.mark.slow
def test_a_trial_that_always_kills_its_worker_fails_alone(tmp_path, data, monkeypatch):
    pytest.importorskip("joblib")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TOY_KILL_ALWAYS", "low-rank")
    few = spec(ratios=(2,), learning_rates=(0.1,), seeds=1)
    sweep(few, tmp_path, data=data, engine="processes", jobs=2, progress=False)
    records = Store(tmp_path).records()
    assert len(records) == 7
    (failed,) = [record for record in records if record.outcome is None]
    assert failed.job.setting.method == "low-rank"
    assert "worker died 3 times" in failed.failed


@pytest.mark.parametrize(("engine", "package", "extra"), RUN_BY)
def test_a_missing_package_is_named_with_its_extra(data, monkeypatch, engine, package, extra):
    for name in {package, *(n for n in sys.modules if n.startswith(f"{package}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    for module in ("processes", "cluster"):
        monkeypatch.delitem(sys.modules, f"memcom.sweep.{module}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf"needs the package {package}.*\[{extra}\]"):
        engines.start(engine, data)


def test_unknown_engines_and_sizes_are_refused(data):
    with pytest.raises(ValueError, match="local, processes, ray"):
        engines.start("spark", data)
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        engines.start("local", data, 0)
