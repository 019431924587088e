"""Where trials run: in this process, in local processes, or on a Ray cluster.

An engine turns a `Job` into a future of its `Record`. A trial that fails is a record of its own; a
future that raises means that no trial came to an end: its worker died, or could not be talked to.
Whatever the engine, a trial on a CPU has one thread, so that the numbers do not depend on the
engine. On a GPU several small trials share a device.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np
import torch

from memcom.sweep.provenance import about, devices, traceback_in_package
from memcom.sweep.records import Job, Record
from memcom.tasks.protocol import get_task

ENGINES = ("local", "processes", "ray")
_EXTRAS = {"joblib": "stats", "ray": "cluster"}  # package -> extra of ours that brings it


class NotDelivered(RuntimeError):
    """A trial or its record did not get through to the other process: nobody's trial has failed."""


class Engine(Protocol):
    """What a sweep needs of an engine."""

    def slots(self) -> int:
        """How many trials may run at a time, now."""

    def submit(self, job: Job) -> Future[Record]:
        """Start a trial, while fewer than `slots` are running.

        The future raises `NotDelivered` if the trial could not be sent to its worker or its record
        not be sent back, and anything else if the worker died.
        """

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
        outcome, trace = None, traceback_in_package()
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
        ModuleNotFoundError: It needs a library that is not installed; the extra is named.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    try:
        if engine == "processes":
            from memcom.sweep.processes import LocalProcesses

            return LocalProcesses(data, jobs)
        if engine == "ray":
            from memcom.sweep.cluster import RayCluster

            return RayCluster(data, jobs)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(str(error.name).partition(".")[0])
        if extra is None:
            raise
        raise ModuleNotFoundError(
            f"the engine {engine!r} needs the package {error.name}: pip install "
            f"'memcom-kit[{extra}]', or use the engine 'local'",
            name=error.name,
        ) from error
    return InProcess(data)
