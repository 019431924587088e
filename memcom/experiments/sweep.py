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
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from memcom.experiments.engines import Engine, start
from memcom.experiments.planning import Table, tables
from memcom.experiments.provenance import about
from memcom.experiments.records import Job, Record
from memcom.experiments.spec import Spec
from memcom.experiments.store import Store

# A trial whose worker died so often has failed; from the first time on it runs alone.
MAX_DEATHS = 3
POLL_SECONDS = 0.5


def sweep(
    spec: Spec | Path | str,
    out: Path | str,
    *,
    data: Any = None,
    engine: str = "local",
    jobs: int | None = None,
    retry_failed: bool = False,
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
        progress: Show a progress bar.

    Returns:
        The tables, without their data's trials: those are in the folder. `report` reads them.

    Raises:
        ValueError: The spec makes no sense, or a file of the folder is damaged.
        TypeError: The data is not of the kind that the task takes.
    """
    spec = spec if isinstance(spec, Spec) else Spec.read(spec)
    if data is not None and len(spec.data) > 1:
        raise ValueError(f"data replaces one source, the spec has {len(spec.data)}")
    store, done = Store(out), []
    for table in tables(spec, data):
        workers = start(engine, table.loaded, jobs)
        try:
            drive(table, store, workers, retry_failed=retry_failed, progress=progress)
        finally:
            workers.close()
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
    running: dict[Future[Record], tuple[Job, Any]] = {}
    deaths: Counter[str] = Counter()
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
                _hand_out(todo, running, deaths, store, engine)
                finished, _ = wait(running, POLL_SECONDS, FIRST_COMPLETED)
                for future in finished:
                    _take_in(future, running, deaths, store)
                if not running and not finished:
                    time.sleep(POLL_SECONDS)  # all that is left is in other hands
        finally:
            for _, lock in running.values():
                lock.release()
        bar.update(total - bar.n)  # rows whose whole grid failed have no further seeds


def _hand_out(
    todo: list[Job],
    running: dict[Future[Record], tuple[Job, Any]],
    deaths: Counter[str],
    store: Store,
    engine: Engine,
) -> None:
    """Start trials while there is room; one that has lost a worker runs alone."""
    at_work = {job.key for job, _ in running.values()}
    slots = engine.slots()
    for job in sorted(todo, key=lambda job: deaths[job.key]):
        suspect = deaths[job.key] > 0
        alone = any(deaths[key] for key in at_work)
        if len(at_work) >= slots or alone or (suspect and at_work):
            return
        if job.key in at_work:
            continue
        lock = store.lock(job)
        if lock is None:
            continue
        if store.get(job) is not None:  # finished by another process just before we had the lock
            lock.release()
            continue
        running[engine.submit(job)] = (job, lock)
        at_work.add(job.key)


def _take_in(
    future: Future[Record],
    running: dict[Future[Record], tuple[Job, Any]],
    deaths: Counter[str],
    store: Store,
) -> None:
    """Keep a finished trial; one whose worker died is left to be tried again, a few times."""
    job, lock = running.pop(future)
    try:
        error = future.exception()
        if error is None:
            store.put(future.result())
            return
        deaths[job.key] += 1
        if deaths[job.key] >= MAX_DEATHS:
            reason = f"its worker died {MAX_DEATHS} times, as by a lack of memory"
            store.put(
                Record(job, None, reason, f"{type(error).__name__}: {error}", 0.0, about("cpu"))
            )
    finally:
        lock.release()
