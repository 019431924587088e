"""Where trials run: in this process, in local processes, or on a Ray cluster.

An engine turns a `Job` into a future of its `Record`. It never raises for a trial that fails, only
for a worker that dies. Whatever the engine, a trial on a CPU has one thread, so that the numbers
do not depend on the engine. On a GPU several small trials share a device.
"""

from __future__ import annotations

import copy
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np
import torch

from memcom.experiments.provenance import about, devices
from memcom.experiments.records import Job, Record
from memcom.experiments.tasks import get_task
from memcom.experiments.trials import available_cores

ENGINES = ("local", "processes", "ray")


class Engine(Protocol):
    """What a sweep needs of an engine."""

    def slots(self) -> int:
        """How many trials may run at a time, now."""

    def submit(self, job: Job) -> Future[Record]:
        """Start a trial. The future raises if its worker died."""

    def close(self) -> None:
        """Stop the workers."""


def attempt(job: Job, data: Any, device: str = "cpu") -> Record:
    """Run one trial with one thread. Nothing is raised: a failure is a record of its own.

    Args:
        job: What to run.
        data: The loaded data.
        device: Where to train.

    Returns:
        The record.
    """
    start = time.perf_counter()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    outcome, failed, trace = None, "", ""
    try:
        outcome = get_task(job.setting.task).run(job.setting, data, device)
        bad = [name for name, value in outcome.metrics.items() if not np.isfinite(value)]
        if bad or not np.isfinite(outcome.valid):
            raise ArithmeticError(f"{', '.join(bad) or 'the validation metric'} is no number")
    except Exception as error:
        outcome, trace = None, traceback.format_exc()
        failed = f"{type(error).__name__}: {error}".splitlines()[0]
    finally:
        torch.set_num_threads(before)
    return Record(job, outcome, failed, trace, time.perf_counter() - start, about(device))


class InProcess:
    """One trial after another in this process."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.device = devices()[0]

    def slots(self) -> int:
        """One."""
        return 1

    def submit(self, job: Job) -> Future[Record]:
        """Run the trial before returning."""
        future: Future[Record] = Future()
        future.set_result(attempt(job, self.data, self.device))
        return future

    def close(self) -> None:
        """Nothing to stop."""


class LocalProcesses:
    """Worker processes of this machine, by joblib's loky; the data is sent to each once.

    Args:
        data: The loaded data.
        jobs: Workers; None is one per core, at most four per GPU where there is one.
    """

    def __init__(self, data: Any, jobs: int | None = None) -> None:
        self.data = data
        self.devices = devices()
        limit = available_cores()
        if self.devices != ["cpu"]:
            limit = min(limit, 4 * len(self.devices))
        self.jobs = jobs or limit
        self.count = 0
        self.pool: Any = None

    def slots(self) -> int:
        """The number of workers."""
        return self.jobs

    def submit(self, job: Job) -> Future[Record]:
        """Queue the trial; after a worker died, with a new set of workers."""
        from joblib.externals import loky

        self.count += 1
        device = self.devices[self.count % len(self.devices)]
        for _ in range(2):
            if self.pool is None:
                self.pool = loky.ProcessPoolExecutor(
                    self.jobs, initializer=_start, initargs=(self.data,)
                )
            try:
                return self.pool.submit(_work, job, device)
            except RuntimeError:  # loky's BrokenProcessPool: a worker was killed
                self.close()
        raise RuntimeError("worker processes die as soon as they are started")

    def close(self) -> None:
        """End the workers, whatever they do."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, kill_workers=True)
            self.pool = None


_data_of_worker: list[Any] = []


def _start(data: Any) -> None:
    torch.set_num_threads(1)
    _data_of_worker[:] = [data]


def _work(job: Job, device: str) -> Record:
    return attempt(job, _data_of_worker[0], device)


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


def start(engine: str, data: Any, jobs: int | None = None) -> Engine:
    """An engine by name.

    Args:
        engine: One of `ENGINES`.
        data: The loaded data.
        jobs: Trials at a time; None leaves it to the engine.

    Returns:
        The engine, to be closed.

    Raises:
        ValueError: There is no such engine.
        ModuleNotFoundError: It needs a library that is not installed.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    makers: dict[str, Callable[[], Engine]] = {
        "local": lambda: InProcess(data),
        "processes": lambda: LocalProcesses(data, jobs),
        "ray": lambda: RayCluster(data, jobs),
    }
    if engine not in makers:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    return makers[engine]()
