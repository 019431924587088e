"""Run a sweep: which trials are pending, which run now, and when a table is complete.

Every process that works on a folder decides by the folder alone: a trial with a file is done, a
locked one is being run. So a sweep can be killed at any time and resumes where it was, and several
processes can share a folder.

A cell (a method at a budget) first tries each candidate of the tuning stage with the first seed.
Validation chooses one, where asked after the best few were trained to the end, and the final seeds
use it. The test part decides nothing.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm.auto import tqdm

from memcom.sweep.caveats import about_former
from memcom.sweep.engines import Engine, start
from memcom.sweep.plan import Table, tables
from memcom.sweep.provenance import provenance
from memcom.sweep.spec import Spec
from memcom.sweep.store import Store
from memcom.sweep.trial import Record, Trial, UndeliveredError
from memcom.tasks.protocol import get_task

MAX_LOST_ALONE = 3  # workers a trial may lose while no other trial runs, before it has failed
POLL_SECONDS = 0.5


def run(
    spec: Spec | Path | str,
    out: Path | str,
    *,
    data: Any = None,
    engine: str = "local",
    jobs: int | None = None,
    retry_failed: bool = False,
    times: bool = False,
    progress: bool = True,
) -> list[Table]:
    """Run every trial of a spec that the folder does not hold yet.

    Args:
        spec: A spec, or the path of its TOML file.
        out: Folder of the trials.
        data: Loaded data to use for the spec's one source, instead of loading it.
        engine: ``"local"``, ``"processes"`` or ``"ray"``.
        jobs: Trials at a time; by default as many as the engine has room for.
        retry_failed: Remove the records of failed trials, and damaged ones, so that they run again.
        times: When a table is done, time its methods against the full table.
        progress: Show a progress bar.

    Returns:
        The tables, without data. Their results are in the folder; `write_report` and `summarise`
        read them.

    Raises:
        ValueError: The spec makes no sense, the data is not of the kind that the task takes, or a
            file of the folder is damaged.
        RuntimeError: Workers cannot be started, or trials cannot be sent to them.
        OSError: A record cannot be written.
    """
    spec = spec if isinstance(spec, Spec) else Spec.read(spec)
    if data is not None and len(spec.data) > 1:
        raise ValueError(f"data replaces one source, the spec has {len(spec.data)}")
    if times and get_task(spec.task).time is None:
        raise ValueError(f"task {spec.task} takes no times")
    store, done = Store(out), []
    for table in tables(spec, data):
        if former := about_former(table, store):
            warnings.warn(former, stacklevel=2)
        workers = start(engine, table.data, store, jobs)
        try:
            run_pending(table, store, workers, retry_failed=retry_failed, progress=progress)
        finally:
            workers.close()
        if times:
            time_methods(table, store, progress=progress)
        done.append(replace(table, data=None))  # the next data set needs the memory
    return done


def run_pending(
    table: Table,
    store: Store,
    engine: Engine,
    *,
    retry_failed: bool = False,
    progress: bool = True,
) -> None:
    """Run all missing trials of a table. Returns when every one is stored, by any process."""
    if retry_failed:
        for trial in (each for cell in table.cells for each in cell.possible_trials):
            store.retry(trial)
    scheduler = Scheduler(store, engine)
    total = sum(cell.num_trials for cell in table.cells)
    found = table.progress(store)
    done = sum(len(cell.records) for cell in found)
    bar = tqdm(total=total, initial=done, desc=table.label, unit="trial", disable=not progress)
    with bar:
        try:
            while pending := [trial for cell in found for trial in cell.pending]:
                bar.set_postfix_str(pending[0].method)
                scheduler.submit(pending)
                finished, _ = wait(scheduler.running, POLL_SECONDS, FIRST_COMPLETED)
                for future in finished:
                    scheduler.collect(future)
                if not scheduler.running and not finished:
                    time.sleep(POLL_SECONDS)  # other processes run what is left
                found = table.progress(store)
                bar.update(sum(len(cell.records) for cell in found) - bar.n)
        finally:
            scheduler.release()
        bar.update(total - bar.n)  # a cell whose whole grid failed runs no further seeds


class _Running(NamedTuple):
    trial: Trial
    lock: Any
    alone: bool  # no other trial runs


class Scheduler:
    """Submits trials to an engine and stores their records.

    A worker's death says little about its trial: the system may lack memory, or somebody may have
    stopped the process. So a trial that lost its worker runs again, from then on alone, and only
    the workers it loses alone are counted against it.
    """

    def __init__(self, store: Store, engine: Engine) -> None:
        self.store, self.engine = store, engine
        self.running: dict[Future[Record], _Running] = {}
        self.lost: Counter[Trial] = Counter()  # workers lost, alone or not
        self.lost_alone: Counter[Trial] = Counter()

    def submit(self, pending: list[Trial]) -> None:
        """Start pending trials while there is room."""
        active = {each.trial for each in self.running.values()}
        slots = self.engine.slots()
        for trial in sorted(pending, key=self.lost.__getitem__):
            suspect = self.lost[trial] > 0
            full = len(active) >= slots or any(self.lost[each] for each in active)
            if full or (suspect and active):
                return
            if trial in active:
                continue
            lock = self.store.lock(trial)
            if lock is None:
                continue
            if self.store.get(trial) is not None:  # another process was quicker
                lock.release()
                continue
            try:
                future = self.engine.submit(trial)
            except BaseException:
                lock.release()
                raise
            self.running[future] = _Running(trial, lock, suspect or slots == 1)
            active.add(trial)

    def collect(self, future: Future[Record]) -> None:
        """Store the record of a finished trial; one that lost its worker stays pending.

        Raises RuntimeError if a trial cannot be sent to its worker time after time, and OSError if
        its worker cannot write the record, as on a full disk. Neither is a property of the trial,
        so nothing is stored.
        """
        trial, lock, alone = self.running.pop(future)
        try:
            if self.store.get(trial) is not None:  # the worker has stored it
                return
            error = future.exception()
            if error is None:
                self.store.put(future.result())
                return
            if isinstance(error, OSError):
                raise error
            self.lost[trial] += 1
            self.lost_alone[trial] += alone
            if self.lost_alone[trial] < MAX_LOST_ALONE:
                return
            if isinstance(error, UndeliveredError):
                raise RuntimeError(
                    f"{trial.method}: the trial does not get through to its worker, or its result "
                    f"back, {MAX_LOST_ALONE} times: {error}"
                ) from error
            reason = f"its worker died {MAX_LOST_ALONE} times when it ran alone, as by a lack of "
            trace = f"{type(error).__name__}: {error}"
            self.store.put(Record(trial, None, f"{reason}memory", trace, 0.0, provenance("cpu")))
        finally:
            lock.release()

    def release(self) -> None:
        """Release the locks of all running trials."""
        for each in self.running.values():
            each.lock.release()


def time_methods(table: Table, store: Store, *, progress: bool = True) -> None:
    """Time the methods of a table against its full table and store the ratios.

    Methods are timed one after another with one thread, after all training. Those that have not
    finished, have no table, or were timed before are left out. A timing error becomes a warning; it
    never aborts a sweep.
    """
    assert table.task.time is not None
    sized = [cell for cell in table.cells if cell.size and cell.size.full_nbytes]
    chosen = [cell.progress(store).chosen for cell in sized]
    trials = [each.trial for each in chosen if each and not store.times(each.trial)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for trial in tqdm(trials, desc="times", unit="method", disable=not progress, leave=False):
            try:
                store.put_times(trial, table.task.time(trial, table.data))
            except Exception as error:
                message = f"{trial.method}: times not measured, {error!r}"
                warnings.warn(message, stacklevel=2)
    finally:
        torch.set_num_threads(threads)
