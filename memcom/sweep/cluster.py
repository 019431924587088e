"""Trials on a Ray cluster."""

from __future__ import annotations

import copy
from concurrent.futures import Future
from typing import Any

from memcom.sweep.engines import attempt
from memcom.sweep.records import Job, Record


class RayCluster:
    """The nodes of a Ray cluster; only this process reads and writes the store.

    Connects to the cluster that RAY_ADDRESS names, or that runs here, or starts one here. The
    package has to be installed on the nodes. Ray runs a trial again if its worker or node dies.

    Args:
        data: The loaded data, sent to each node once.
        jobs: Trials at a time; None is as many as the cluster has room for.
        pack: Trials that share a GPU.
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
        """Room in the cluster as it is now: nodes may come and go."""
        room = self.ray.cluster_resources()
        limit = int(room.get("GPU", 0) * self.pack if self.gpus else room.get("CPU", 1))
        return max(1, min(limit, self.jobs or limit))

    def submit(self, job: Job) -> Future[Record]:
        """Queue the trial."""
        return self.work.remote(job, self.data, self.gpus).future()

    def close(self) -> None:
        """Leave the cluster if this engine joined it."""
        if self.started:
            self.ray.shutdown()


def _on_node(job: Job, data: Any, gpu: bool) -> Record:
    # What Ray shares between workers is read-only; torch wants arrays it may write to.
    return attempt(job, copy.deepcopy(data), "cuda:0" if gpu else "cpu")
