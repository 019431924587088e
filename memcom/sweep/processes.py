"""Trials in processes of this machine.

Each trial that runs has a process to itself, so that a process that is killed takes its own trial
along and no other: in a pool whose workers share a queue, one that dies while it reads or writes
spoils the messages of all. Data and records go through files, and only their names through pipes:
whoever writes more into a pipe than it holds, to a process that was killed, waits for ever.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tempfile
import threading
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import torch
from joblib.externals import loky

from memcom._files import write_json
from memcom.sweep.engines import NotDelivered, attempt
from memcom.sweep.provenance import available_cores, devices
from memcom.sweep.records import Job, Record

MAX_STARTS = 3  # of one worker in a row

# glibc hands buffers of 32 MiB and more, such as the scores of a batch over all items, back to the
# system when they are freed; the page faults of the next step then take half of its time. With
# these settings workers keep them. Other C libraries ignore them.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


class LocalProcesses:
    """Worker processes of this machine, by joblib's loky; each reads the data once.

    Args:
        data: The loaded data.
        jobs: Workers; None is one per core, at most four per GPU where there is one.
    """

    def __init__(self, data: Any, jobs: int | None = None) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="memcom-")
        pickled = pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL)
        self.source = Path(self.folder.name) / "data", hashlib.sha256(pickled).hexdigest()
        self.source[0].write_bytes(pickled)
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
            self.workers = [_Worker(self.source, device[n]) for n in range(self.jobs)]
        for worker in self.workers:
            if worker.idle:
                return worker.submit(job)
        raise RuntimeError(f"all {self.jobs} workers have a trial")

    def close(self) -> None:
        """End the workers, whatever they do."""
        for worker in self.workers:
            worker.end()
        self.workers = []
        self.folder.cleanup()


class _Worker:
    """A process that runs one trial at a time, and is replaced when it has died."""

    def __init__(self, source: tuple[Path, str], device: str) -> None:
        self.source, self.device = source, device
        self.future: Future[Record] | None = None
        self.start()

    @property
    def idle(self) -> bool:
        return self.future is None or self.future.done()

    def start(self) -> None:
        arguments = (*self.source, os.getpid())
        self.pool = loky.ProcessPoolExecutor(
            1, initializer=_start, initargs=arguments, env=KEEP_MEMORY
        )
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


def _pass_on(future: Future[Record], running: Future[Path]) -> None:
    """Give the future what came of a trial, or say what went wrong with its worker."""
    error = running.exception()
    if error is None:
        path = running.result()
        try:
            record = Record.from_json(json.loads(path.read_text(encoding="utf-8")))
            path.unlink()
        except (OSError, ValueError) as trouble:
            future.set_exception(NotDelivered(f"{type(trouble).__name__}: {trouble}"))
        else:
            future.set_result(record)
    elif type(error) is loky.BrokenProcessPool:  # the process is there, its messages are not
        future.set_exception(NotDelivered(f"{error} {error.__cause__ or ''}".strip()))
    else:
        future.set_exception(error)


_data_of_worker: list[Any] = []


def _start(path: Path, checksum: str, parent: int) -> None:
    threading.Thread(target=_leave_with, args=(parent, path.parent), daemon=True).start()
    torch.set_num_threads(1)
    pickled = path.read_bytes()
    if hashlib.sha256(pickled).hexdigest() != checksum:
        raise OSError(f"{path} is not what was written")
    _data_of_worker[:] = [pickle.loads(pickled), path.parent]


def _leave_with(parent: int, folder: Path) -> None:
    """End this process once its parent is gone: nobody would take what it computes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _ready() -> bool:
    return True


def _work(job: Job, device: str) -> Path:
    data, folder = _data_of_worker
    record = attempt(job, data, device)
    return write_json(folder / f"{job.key}.json", record.as_json())
