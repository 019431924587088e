"""Trials in processes of this machine.

Each trial has a process to itself, so that a killed process loses one trial only: in a pool whose
workers share a queue, a worker that dies while it reads or writes corrupts the messages of all.
Data and records go through files and only their names through pipes: a pipe to a killed process
blocks its writer for ever once it is full. A worker writes its record into the store.
"""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from joblib.externals import loky

from memcom.profiling.memory import KEEP_FREED_MEMORY
from memcom.sweep.provenance import devices, parallel_trials
from memcom.sweep.store import Store
from memcom.sweep.trial import Record, Trial, UndeliveredError, run_trial

MAX_STARTS = 3  # of one worker in a row
PREFIX = "memcom-sweep-"  # of the temporary folder with the data


class LocalProcesses:
    """Worker processes of this machine, by joblib's loky; each reads the data once.

    By default there is one worker per core, or four per GPU. The copy of the data in the system's
    temporary folder goes with the last of these processes; where all were killed at once, the next
    sweep on this machine removes it.
    """

    def __init__(self, data: Any, store: Store, jobs: int | None = None) -> None:
        _remove_left_behind()
        self.folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        self.lock = FileLock(Path(self.folder.name) / "lock")
        self.lock.acquire()  # before there is data: see `_remove_left_behind`
        self.store = store
        self.source = Path(self.folder.name) / "data"
        self.source.write_bytes(pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL))
        self.devices = devices()
        self.jobs = jobs or parallel_trials()
        self.workers: list[_Worker] = []

    def slots(self) -> int:
        """Return the number of workers."""
        return self.jobs

    def submit(self, trial: Trial) -> Future[Record]:
        """Run the trial in a free worker, which stores its record."""
        if not self.workers:  # all at once: a start takes seconds
            device = [self.devices[n % len(self.devices)] for n in range(self.jobs)]
            self.workers = [_Worker(self.source, self.store, device[n]) for n in range(self.jobs)]
        for worker in self.workers:
            if worker.idle:
                return worker.submit(trial)
        raise RuntimeError(f"all {self.jobs} workers have a trial")

    def close(self) -> None:
        """Stop the workers, with the trials they run."""
        for worker in self.workers:
            worker.end()
        self.workers = []
        self.lock.release()
        self.folder.cleanup()


def _remove_left_behind() -> None:
    """Remove the data of sweeps whose processes are all gone: nobody holds the lock beside it."""
    for data in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/data"):
        with suppress(OSError, Timeout), FileLock(data.with_name("lock"), timeout=0):
            shutil.rmtree(data.parent, ignore_errors=True)


class _Worker:
    """A process that runs one trial at a time and is replaced when it has died."""

    def __init__(self, source: Path, store: Store, device: str) -> None:
        self.source, self.store, self.device = source, store, device
        self.future: Future[Record] | None = None
        self.start()

    @property
    def idle(self) -> bool:
        return self.future is None or self.future.done()

    def start(self) -> None:
        arguments = (self.source, self.store.folder.absolute(), os.getpid())
        self.pool = loky.ProcessPoolExecutor(
            1, initializer=_start, initargs=arguments, env=KEEP_FREED_MEMORY
        )
        self.ready = self.pool.submit(bool)

    def submit(self, trial: Trial) -> Future[Record]:
        for _ in range(MAX_STARTS):
            try:
                self.ready.result()
                running = self.pool.submit(_work, trial, self.device)
            except loky.BrokenProcessPool as error:  # it died, at its start or since its last trial
                died = error
                self.end()
                self.start()
                continue
            self.future = Future()
            running.add_done_callback(partial(_pass_on, self.future, self.store, trial))
            return self.future
        raise RuntimeError(f"worker processes die as soon as they are started: {died}") from died

    def end(self) -> None:
        self.pool.shutdown(wait=True, kill_workers=not self.idle)


def _pass_on(future: Future[Record], store: Store, trial: Trial, running: Future[None]) -> None:
    """Set the future to the record the worker has stored, or to what went wrong."""
    error = running.exception()
    if error is None:
        try:
            record = store.get(trial)
        except (OSError, ValueError) as unread:
            future.set_exception(UndeliveredError(f"{type(unread).__name__}: {unread}"))
            return
        if record is None:
            future.set_exception(UndeliveredError(f"{store.path(trial)} is not there"))
        else:
            future.set_result(record)
    elif type(error) is loky.BrokenProcessPool:  # the process is alive, its messages are broken
        future.set_exception(UndeliveredError(f"{error} {error.__cause__ or ''}".strip()))
    else:
        future.set_exception(error)


_of_worker: list[Any] = []  # the data and the store


def _start(source: Path, folder: Path, parent: int) -> None:
    threading.Thread(target=_leave_with, args=(parent, source.parent), daemon=True).start()
    torch.set_num_threads(1)
    _of_worker[:] = [pickle.loads(source.read_bytes()), Store(folder)]


def _leave_with(parent: int, folder: Path) -> None:
    """End this process once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _work(trial: Trial, device: str) -> None:
    data, store = _of_worker
    store.put(run_trial(trial, data, device))
