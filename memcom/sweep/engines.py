"""Engines: run trials in this process, in processes of this machine, or on a Ray cluster.

An engine turns a `Trial` into a future of its `Record`. A trial that fails is a failed record. A
future raises if there is no record: the worker died, or could not be reached. With every engine a
trial on a CPU has one thread, so that its numbers do not depend on the engine. On a GPU several
small trials share a device.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol

from memcom._extras import MissingExtra, extra_of
from memcom.sweep.provenance import devices
from memcom.sweep.store import Store
from memcom.sweep.trial import Record, Trial, run_trial

ENGINES = ("local", "processes", "ray")


class Engine(Protocol):
    """Runs trials."""

    def slots(self) -> int:
        """Return how many trials may run at a time, now."""

    def submit(self, trial: Trial) -> Future[Record]:
        """Start a trial, while fewer than `slots` are running.

        The engine may store the record itself. The future raises `UndeliveredError` if the trial
        could not be sent or its record not be read back, and anything else if the worker died.
        """

    def close(self) -> None:
        """Stop the workers."""


class InProcess:
    """Runs one trial after another in this process."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.device = devices()[0]

    def slots(self) -> int:
        """Return 1."""
        return 1

    def submit(self, trial: Trial) -> Future[Record]:
        """Run the trial before returning."""
        future: Future[Record] = Future()
        future.set_result(run_trial(trial, self.data, self.device))
        return future

    def close(self) -> None:
        """Do nothing."""


def start(engine: str, data: Any, store: Store, jobs: int | None = None) -> Engine:
    """Start an engine by name; the caller closes it. A package that is missing is named."""
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    try:
        if engine == "processes":
            from memcom.sweep.processes import LocalProcesses

            return LocalProcesses(data, store, jobs)
        if engine == "ray":
            from memcom.sweep.cluster import RayCluster

            return RayCluster(data, jobs)
    except ModuleNotFoundError as error:
        extra = extra_of(str(error.name))
        if extra is None:
            raise
        wanted, instead = f"the engine {engine!r}", "use the engine 'local'"
        raise MissingExtra(wanted, error.name, extra, instead) from error
    return InProcess(data)
