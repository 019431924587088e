"""Trials in processes of this machine.

Each trial that runs has a process and a pair of pipes to itself, so that a process that is killed
takes its own trial along and no other: in a pool whose workers share a queue, one that dies while
it reads or writes spoils the messages of all.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

import torch
from joblib.externals import loky

from memcom.experiments.engines import NotDelivered, attempt
from memcom.experiments.provenance import devices
from memcom.experiments.records import Job, Record
from memcom.experiments.trials import available_cores

MAX_STARTS = 3  # of one worker in a row


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
        self.workers: list[_Worker] = []

    def slots(self) -> int:
        """The number of workers."""
        return self.jobs

    def submit(self, job: Job) -> Future[Record]:
        """Run the trial in a worker that has none.

        Args:
            job: The trial.

        Returns:
            Its future; raises `NotDelivered` if it did not get through.

        Raises:
            RuntimeError: All workers have a trial, or they die as soon as they are started.
        """
        if not self.workers:  # all at once, for a start takes seconds
            device = [self.devices[n % len(self.devices)] for n in range(self.jobs)]
            self.workers = [_Worker(self.data, device[n]) for n in range(self.jobs)]
        for worker in self.workers:
            if worker.idle:
                return worker.submit(job)
        raise RuntimeError(f"all {self.jobs} workers have a trial")

    def close(self) -> None:
        """End the workers, whatever they do."""
        for worker in self.workers:
            worker.end()
        self.workers = []


class _Worker:
    """A process that runs one trial at a time, and is replaced when it has died."""

    def __init__(self, data: Any, device: str) -> None:
        self.data, self.device = data, device
        self.future: Future[Record] | None = None
        self.start()

    @property
    def idle(self) -> bool:
        return self.future is None or self.future.done()

    def start(self) -> None:
        self.pool = loky.ProcessPoolExecutor(1, initializer=_start, initargs=(self.data,))
        self.ready = self.pool.submit(_ready)

    def submit(self, job: Job) -> Future[Record]:
        for _ in range(MAX_STARTS):
            try:
                self.ready.result()
                running = self.pool.submit(_work, job, self.device)
            except loky.BrokenProcessPool as error:  # it died, at its start or since its last trial
                died = error
                self.end()
                self.start()
                continue
            self.future = Future()
            running.add_done_callback(partial(_pass_on, self.future))
            return self.future
        raise RuntimeError(f"worker processes die as soon as they are started: {died}") from died

    def end(self) -> None:
        self.pool.shutdown(wait=True, kill_workers=not self.idle)


def _pass_on(future: Future[Record], running: Future[Record]) -> None:
    """Give the future what came of a trial, or say what went wrong with its worker."""
    error = running.exception()
    if error is None:
        future.set_result(running.result())
    elif type(error) is loky.BrokenProcessPool:  # the process is there, its messages are not
        future.set_exception(NotDelivered(f"{error} {error.__cause__ or ''}".strip()))
    else:
        future.set_exception(error)


_data_of_worker: list[Any] = []


def _start(data: Any) -> None:
    torch.set_num_threads(1)
    _data_of_worker[:] = [data]
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process once its parent is gone: nobody would take what it computes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _ready() -> bool:
    return True


def _work(job: Job, device: str) -> Record:
    return attempt(job, _data_of_worker[0], device)
