"""A Ray cluster of three nodes on this machine, which loses a worker and a node."""

from __future__ import annotations

from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray, the extra `cluster`, is not installed")
from ray.cluster_utils import Cluster

from memcom.sweep import Store, run
from tests.sweep.toy import contents, runs, spec

ROOT = Path(__file__).parents[2]

# What the daemons of a node would do beside the work, each in a Python of its own.
QUIET = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_metrics_collection": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# A busy machine is slow to answer and not dead; a node that is removed closes its connection.
PATIENT = {
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_gcs_server_request_timeout_seconds": "60",
    "RAY_health_check_timeout_ms": "20000",
}
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    kills = {"TOY_LOG": str(tmp_path / "log"), "TOY_KILL": str(tmp_path)}
    for name, value in {**QUIET, **PATIENT, **kills, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    head = {**NODE, "num_cpus": 0, "include_dashboard": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
def test_a_cluster_loses_a_worker_and_a_node(tmp_path, monkeypatch, cluster, data):
    few = spec(ratios=(2,), seeds=1, learning_rates=(0.1,))
    nodes = [cluster.add_node(**NODE, wait=False) for _ in range(2)]
    cluster.wait_for_nodes(60)
    ray.init(address=cluster.address, log_to_driver=False)
    written: list[Path] = []
    put = Store.put

    def put_and_lose_a_node(store, record):
        written.append(put(store, record))
        if len(written) == 2:
            cluster.remove_node(nodes[0], allow_graceful=False)
        return written[-1]

    with monkeypatch.context() as context:
        context.setattr(Store, "put", put_and_lose_a_node)
        run(few, tmp_path / "out", data=data, engine="ray", progress=False)
    assert len(written) == len(set(written)) == 7
    assert len(runs(tmp_path / "log")) == 7
    assert len(list(tmp_path.glob("[0-9a-f]" * 64))) == 1  # the mark of the killed worker
    monkeypatch.delenv("TOY_KILL")
    run(few, tmp_path / "undisturbed", data=data, progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
