"""The sweep: which trials are to run, who runs them, and when it is done.

Every process that works on a folder decides by what the folder holds: a trial that has a file is
done, one that is locked is being run. So a sweep can be killed at any time and goes on where it
was, and several processes can share a folder without knowing of each other.

A row (a method at a budget) first tries each learning rate with the first seed. Validation
chooses, and the remaining seeds use the choice. The test part decides nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from memcom.sweep.engines import Engine, NotDelivered, start
from memcom.sweep.planning import Table, tables
from memcom.sweep.provenance import about
from memcom.sweep.records import Job, Record
from memcom.sweep.spec import Spec
from memcom.sweep.store import Store
from memcom.sweep.times import take_times
from memcom.tasks.protocol import get_task

# A trial that loses so many workers while no other runs beside it has failed.
MAX_LOST_ALONE = 3
POLL_SECONDS = 0.5


def sweep(
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
        jobs: Trials at a time; None leaves it to the engine.
        retry_failed: Run trials that have failed before once more.
        times: When a table is done, take the times of its methods against the full table.
        progress: Show a progress bar.

    Returns:
        The tables, without their data's trials: those are in the folder. `report` reads them.

    Raises:
        ValueError: The spec makes no sense, the data is not of the kind that the task takes, or a
            file of the folder is damaged.
        RuntimeError: Workers cannot be started, or trials do not get through to them.
    """
    spec = spec if isinstance(spec, Spec) else Spec.read(spec)
    if data is not None and len(spec.data) > 1:
        raise ValueError(f"data replaces one source, the spec has {len(spec.data)}")
    if times and get_task(spec.task).time is None:
        raise ValueError(f"task {spec.task} takes no times")
    store, done = Store(out), []
    for table in tables(spec, data):
        workers = start(engine, table.loaded, jobs)
        try:
            drive(table, store, workers, retry_failed=retry_failed, progress=progress)
        finally:
            workers.close()
        if times:
            take_times(table, store, progress=progress)
        done.append(replace(table, loaded=None))  # the next data set needs the memory
    return done


def drive(
    table: Table,
    store: Store,
    engine: Engine,
    *,
    retry_failed: bool = False,
    progress: bool = True,
) -> None:
    """Run what a table lacks, until every trial of it is in the store, by whoever's hand.

    Args:
        table: What is wanted.
        store: What is there; shared with other processes that may be at it.
        engine: Runs the trials.
        retry_failed: Run trials again that have failed before this call.
        progress: Show a progress bar.
    """
    if retry_failed:
        for job in table.wanted(store):
            record = store.get(job)
            if record is not None and record.outcome is None:
                store.forget(job)
    crew = _Crew(store, engine)
    total = sum(line.cell.num_trials for line in table.lines if not line.impossible)
    there = sum(store.get(job) is not None for job in table.wanted(store))
    bar = tqdm(total=total, initial=there, desc=table.label, unit="trial", disable=not progress)
    with bar:
        try:
            while True:
                wanted = list(table.wanted(store))
                todo = [job for job in wanted if store.get(job) is None]
                bar.update(len(wanted) - len(todo) - bar.n)
                if not todo:
                    break
                bar.set_postfix_str(todo[0].setting.method)
                crew.hand_out(todo)
                finished, _ = wait(crew.running, POLL_SECONDS, FIRST_COMPLETED)
                for future in finished:
                    crew.take_in(future)
                if not crew.running and not finished:
                    time.sleep(POLL_SECONDS)  # all that is left is in other hands
        finally:
            crew.let_go()
        bar.update(total - bar.n)  # rows whose whole grid failed have no further seeds


@dataclass(frozen=True)
class _Running:
    """A trial under way, its lock, and whether no other runs beside it."""

    job: Job
    lock: Any
    alone: bool


class _Crew:
    """Hands trials to an engine and takes records in.

    A worker that dies says little about its trial: it may be the system that lacks memory, or
    somebody who stops a process. So a trial that lost its worker runs again, alone from then on,
    and only what it does alone is counted against it.
    """

    def __init__(self, store: Store, engine: Engine) -> None:
        self.store, self.engine = store, engine
        self.running: dict[Future[Record], _Running] = {}
        self.lost: Counter[str] = Counter()  # by key: workers lost, alone or not
        self.lost_alone: Counter[str] = Counter()

    def hand_out(self, todo: list[Job]) -> None:
        """Start trials while there is room."""
        at_work = {each.job.key for each in self.running.values()}
        slots = self.engine.slots()
        for job in sorted(todo, key=lambda job: self.lost[job.key]):
            suspect = self.lost[job.key] > 0
            full = len(at_work) >= slots or any(self.lost[key] for key in at_work)
            if full or (suspect and at_work):
                return
            if job.key in at_work:
                continue
            lock = self.store.lock(job)
            if lock is None:
                continue
            if self.store.get(job) is not None:  # finished elsewhere just before we had the lock
                lock.release()
                continue
            alone = suspect or slots == 1
            try:
                self.running[self.engine.submit(job)] = _Running(job, lock, alone)
            except BaseException:
                lock.release()
                raise
            at_work.add(job.key)

    def take_in(self, future: Future[Record]) -> None:
        """Keep a finished trial, or leave one whose worker was lost to be tried again.

        Args:
            future: A future of `running` that is done.

        Raises:
            RuntimeError: A trial does not get through to its worker, time after time. That is no
                property of the trial, and so nothing is stored.
        """
        run = self.running.pop(future)
        key = run.job.key
        try:
            error = future.exception()
            if error is None:
                self.store.put(future.result())
                return
            self.lost[key] += 1
            self.lost_alone[key] += run.alone
            if self.lost_alone[key] < MAX_LOST_ALONE:
                return
            if isinstance(error, NotDelivered):
                raise RuntimeError(
                    f"{run.job.setting.method}: the trial does not get through to its worker, or "
                    f"its result back, {MAX_LOST_ALONE} times: {error}"
                ) from error
            reason = f"its worker died {MAX_LOST_ALONE} times when it ran alone, as by a lack of "
            trace = f"{type(error).__name__}: {error}"
            self.store.put(Record(run.job, None, f"{reason}memory", trace, 0.0, about("cpu")))
        finally:
            run.lock.release()

    def let_go(self) -> None:
        """Release the locks of what is under way."""
        for each in self.running.values():
            each.lock.release()
