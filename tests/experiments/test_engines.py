"""The same store whatever runs the trials, and whatever dies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from memcom.data import load
from memcom.experiments import engines
from memcom.experiments.planning import tables
from memcom.experiments.store import Store
from memcom.experiments.sweep import sweep
from tests.experiments.test_sweep import contents, runs, spec

ROOT = Path(__file__).parents[2]


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
    from tests.experiments import toy

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


@pytest.mark.slow
def test_ray_cluster_loses_workers_and_a_node(tmp_path, data, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray, the extra `cluster`, is not installed")
    from ray.cluster_utils import Cluster

    few = spec(ratios=(2,), seeds=1)
    sweep(few, tmp_path / "undisturbed", data=data, progress=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("TOY_KILL", str(tmp_path))
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "60")  # for a busy machine
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")  # a lost node is noticed soon
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        other = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        written: list[Path] = []
        put = Store.put

        def put_and_lose_a_node(store, record):
            written.append(put(store, record))
            if len(written) == 3:
                cluster.remove_node(other, allow_graceful=False)
            return written[-1]

        monkeypatch.setattr(Store, "put", put_and_lose_a_node)
        sweep(few, tmp_path / "out", data=data, engine="ray", progress=False)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    assert len(written) == len(set(written)) == 1 + 2 * 6
    assert len(runs(tmp_path / "log")) == 1 + 2 * 6


def test_unknown_engines_and_sizes_are_refused(data):
    with pytest.raises(ValueError, match="local, processes, ray"):
        engines.start("spark", data)
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        engines.start("local", data, 0)
