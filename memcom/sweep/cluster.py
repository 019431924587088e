"""Trials on a Ray cluster."""

from __future__ import annotations

import copy
from concurrent.futures import Future
from typing import Any

from memcom.sweep.trial import Record, Trial, run_trial


class RayCluster:
    """The nodes of a Ray cluster. Only this process reads and writes the store.

    Connects to the cluster that RAY_ADDRESS names or that runs on this machine, or starts one. The
    package has to be installed on the nodes. Each node gets the data once. Ray runs a trial again
    if its worker or node dies. ``pack`` trials share a GPU.
    """

    def __init__(self, data: Any, jobs: int | None = None, pack: int = 4) -> None:
        import ray

        self.ray, self.jobs, self.pack = ray, jobs, pack
        self.started = not ray.is_initialized()
        if self.started:
            ray.init(log_to_driver=False, include_dashboard=False)
        self.gpus = ray.cluster_resources().get("GPU", 0) > 0
        work = ray.remote(num_cpus=1, num_gpus=1 / pack if self.gpus else 0, max_retries=3)
        self.work: Any = work(_on_node)
        self.data = ray.put(data)

    def slots(self) -> int:
        """Return the room in the cluster now: nodes may come and go."""
        room = self.ray.cluster_resources()
        limit = int(room.get("GPU", 0) * self.pack if self.gpus else room.get("CPU", 1))
        return max(1, min(limit, self.jobs or limit))

    def submit(self, trial: Trial) -> Future[Record]:
        """Queue the trial."""
        return self.work.remote(trial, self.data, self.gpus).future()

    def close(self) -> None:
        """Leave the cluster if this engine joined it."""
        if self.started:
            self.ray.shutdown()


def _on_node(trial: Trial, data: Any, gpu: bool) -> Record:
    # Ray's shared arrays are read-only; torch wants writable ones.
    return run_trial(trial, copy.deepcopy(data), "cuda:0" if gpu else "cpu")
