"""The same store with every engine, and whatever dies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from memcom.sweep import Store, engines, run
from tests.sweep.toy import contents, spec

ROOT = Path(__file__).parents[2]
RUN_BY = [("processes", "joblib", "sweep"), ("ray", "ray", "cluster")]


@pytest.mark.slow
def test_local_processes_survive_killed_workers(tmp_path, data, monkeypatch):
    run(spec(), tmp_path / "undisturbed", data=data, progress=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TOY_KILL", str(tmp_path))  # some workers kill themselves, once per trial
    run(spec(), tmp_path / "out", data=data, engine="processes", jobs=2, progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_trial_that_always_kills_its_worker_fails_alone(tmp_path, data, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TOY_KILL_ALWAYS", "low-rank")
    few = spec(ratios=(2,), learning_rates=(0.1,), seeds=1)
    run(few, tmp_path, data=data, engine="processes", jobs=2, progress=False)
    records = Store(tmp_path).records()
    assert len(records) == 7
    (failed,) = [record for record in records if record.outcome is None]
    assert failed.trial.method == "low-rank"
    assert "worker died 3 times" in failed.failed


@pytest.mark.parametrize(("engine", "package", "extra"), RUN_BY)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path, data, monkeypatch, engine, package, extra
):
    for name in {package, *(n for n in sys.modules if n.startswith(f"{package}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    for module in ("processes", "cluster"):
        monkeypatch.delitem(sys.modules, f"memcom.sweep.{module}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*\[{extra}\]"):
        engines.start(engine, data, Store(tmp_path))


def test_unknown_engines_and_sizes_are_refused(tmp_path, data):
    with pytest.raises(ValueError, match=r"local, processes, ray.*'spark'"):
        engines.start("spark", data, Store(tmp_path))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        engines.start("local", data, Store(tmp_path), 0)
