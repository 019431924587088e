"""Which trials are run, once each, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import random
import threading
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from memcom.data import load
from memcom.sweep import engines
from memcom.sweep.planning import Table, tables
from memcom.sweep.records import Job, Record
from memcom.sweep.running import drive, sweep
from memcom.sweep.spec import Spec
from memcom.sweep.store import Store
from tests.sweep import toy

METHODS = ("hash", "memcom")
# (small-dim, low-rank, truncate, hash, memcom) x 2 ratios and full, each 2 rates and 2 more seeds;
# popular learns nothing and is one trial.
NUM_TRIALS = (5 * 2 + 1) * (2 + 2) + 1


@pytest.fixture(scope="module")
def data():
    return load("synthetic", num_users=60, num_items=100)


def spec(**changes: Any) -> Spec:
    fields = {"data": "synthetic", "task": toy.NAME, "methods": METHODS, "ratios": (2, 4)}
    return Spec(**fields | {"profile": "fast"} | changes)


def contents(folder: Path) -> dict[str, Any]:
    """Every file of trials with its text, but for times and load."""
    found = {}
    for path in (folder / "trials").rglob("*"):
        if path.is_file():
            content = json.loads(path.read_text())
            content["seconds"] = content["about"]["finished"] = content["about"]["load"] = None
            found[str(path.relative_to(folder))] = json.dumps(content)
    return found


def in_another_process(folder: Path, data: Any, **changes: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(
        target=sweep, args=(spec(**changes), folder), kwargs={"data": data, "progress": False}
    )
    process.start()
    return process


def runs(log: Path) -> Counter[str]:
    return Counter(log.read_text().split())


def test_every_trial_once_and_never_again(tmp_path, data, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    sweep(spec(), tmp_path / "out", data=data, progress=False)
    assert len(runs(log)) == runs(log).total() == NUM_TRIALS
    before = contents(tmp_path / "out")
    assert len(before) == NUM_TRIALS
    sweep(spec(), tmp_path / "out", data=data, progress=False)
    assert runs(log).total() == NUM_TRIALS
    assert contents(tmp_path / "out") == before


def test_killed_five_times_ends_as_undisturbed(tmp_path, data, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    options = {"options": {"work": 3}}
    chance = random.Random(0)
    kills, folder = 0, tmp_path / "killed"
    while kills < 5:
        there = len(list(folder.rglob("*.json")))
        process = in_another_process(folder, data, **options)
        goal = there + chance.randint(1, 7)
        while process.is_alive() and len(list(folder.rglob("*.json"))) < goal:
            process.join(chance.random() / 100)
        assert process.is_alive(), "the sweep ended before it could be killed"
        process.kill()
        process.join()
        kills += 1
    sweep(spec(**options), folder, data=data, progress=False)
    repeated = runs(tmp_path / "log")
    assert len(repeated) == NUM_TRIALS
    assert repeated.total() <= NUM_TRIALS + kills  # no more than what was under way at each kill
    monkeypatch.delenv("TOY_LOG")
    sweep(spec(**options), tmp_path / "undisturbed", data=data, progress=False)
    assert contents(folder) == contents(tmp_path / "undisturbed")


def test_what_a_killed_process_left_half_written_goes(tmp_path, data):
    sweep(spec(), tmp_path, data=data, progress=False)
    (table,), store = list(tables(spec(), data)), Store(tmp_path)
    path = store.path(table.job(table.lines[-1].cell.setting))
    before = contents(tmp_path)
    path.unlink()
    half = path.with_name(f".{path.name}.abc123")
    half.write_text('{"format": 1, "key": "')
    sweep(spec(), tmp_path, data=data, progress=False)
    assert not half.exists()
    assert contents(tmp_path) == before


class Unlucky:
    """An engine with two slots whose first trials end with an error instead of a record."""

    def __init__(self, data: Any, errors: list[Exception]) -> None:
        self.data, self.errors = data, errors
        self.alone: list[bool] = []
        self.futures: list[Future[Record]] = []

    def slots(self) -> int:
        return 2

    def submit(self, job: Job) -> Future[Record]:
        self.alone.append(True)
        if sum(not future.done() for future in self.futures):
            self.alone[-2:] = [False, False]
        self.futures.append(future := Future())
        error = self.errors.pop(0) if self.errors else None

        def end() -> None:
            if error is None:
                future.set_result(engines.attempt(job, self.data))
            else:
                future.set_exception(error)

        threading.Timer(0.01, end).start()
        return future


def few_trials(data: Any) -> Table:
    (table,) = tables(spec(ratios=(2,), learning_rates=(0.1,), seeds=1), data)
    return table


def test_workers_lost_in_company_are_not_held_against_a_trial(tmp_path, data):
    engine = Unlucky(data, [RuntimeError("died")] * 2)
    drive(few_trials(data), Store(tmp_path), engine, progress=False)
    records = Store(tmp_path).records()
    assert len(records) == 7
    assert all(record.outcome is not None for record in records)
    assert len(engine.alone) == 9
    assert engine.alone.count(True) >= 2  # the two that lost a worker ran again, each alone


def test_a_trial_has_failed_once_it_has_lost_its_worker_alone_time_after_time(tmp_path, data):
    table = few_trials(data)
    table = dataclasses.replace(table, lines=table.lines[1:2])
    drive(table, Store(tmp_path), Unlucky(data, [RuntimeError("died")] * 4), progress=False)
    (record,) = Store(tmp_path).records()
    assert "worker died 3 times when it ran alone" in record.failed


def test_a_trial_that_does_not_get_through_stops_the_sweep_and_is_no_failure(tmp_path, data):
    errors = [engines.NotDelivered("no such module")] * 30
    with pytest.raises(RuntimeError, match=r"get through to its worker.*no such module"):
        drive(few_trials(data), Store(tmp_path), Unlucky(data, errors), progress=False)
    assert not Store(tmp_path).records()
    drive(few_trials(data), Store(tmp_path), Unlucky(data, []), progress=False)  # locks are free
    assert len(Store(tmp_path).records()) == 7


def test_two_processes_share_a_folder(tmp_path, data, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    processes = [in_another_process(tmp_path / "out", data, options={"work": 3}) for _ in "ab"]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(runs(log)) == runs(log).total() == NUM_TRIALS
    assert len(contents(tmp_path / "out")) == NUM_TRIALS


def test_validation_chooses_the_learning_rate_and_other_seeds_use_it(tmp_path, data):
    sweep(spec(), tmp_path, data=data, progress=False)
    (table,), store = list(tables(spec(), data)), Store(tmp_path)
    for line in table.lines:
        if not line.cell.trained:
            continue
        grid = [table.job(setting) for setting in line.cell.grid]
        valid = [store.get(job).outcome.valid for job in grid]
        best = grid[valid.index(max(valid))].setting
        assert table.chosen(line, store).job.setting == best
        for seed in (1, 2):
            rates = [
                job.setting.learning_rate
                for job in (record.job for record in store.records())
                if job.setting.seed == seed
                and (job.setting.method, job.setting.ratio) == (best.method, best.ratio)
            ]
            assert rates == [best.learning_rate]


def test_failed_trials_are_kept_and_can_be_retried(tmp_path, data, monkeypatch):
    monkeypatch.setenv("TOY_FAIL", "hash")
    sweep(spec(), tmp_path, data=data, progress=False)
    store = Store(tmp_path)
    failed = [record for record in store.records() if record.outcome is None]
    # Only the grid: with no learning rate left there is nothing to give more seeds to.
    assert [(r.job.setting.method, r.failed) for r in failed] == [
        ("hash", "RuntimeError: as it was told to")
    ] * (2 * 2)
    assert all("in run" in record.traceback for record in failed)

    monkeypatch.delenv("TOY_FAIL")
    sweep(spec(), tmp_path, data=data, progress=False)  # without being told to, not again
    assert sum(r.outcome is None for r in Store(tmp_path).records()) == 4
    sweep(spec(), tmp_path, data=data, progress=False, retry_failed=True)
    records = Store(tmp_path).records()
    assert len(records) == NUM_TRIALS
    assert all(record.outcome is not None for record in records)


def test_a_method_that_cannot_be_so_small_is_left_out(tmp_path, data):
    (table,) = sweep(spec(ratios=(40,)), tmp_path, data=data, progress=False)
    ruled_out = {line.cell.setting.method for line in table.lines if line.impossible}
    assert "memcom" in ruled_out  # its ceiling is a ratio below the width, 16
    assert "hash" not in ruled_out
    assert not list((tmp_path / "trials").rglob("memcom/*"))


def test_every_combination_of_varied_options_is_a_table(tmp_path, data):
    found = sweep(
        spec(ratios=(2,), seeds=1, vary={"embedding_dim": [8, 16]}, learning_rates=(0.1,)),
        tmp_path,
        data=data,
        progress=False,
    )
    assert [table.label for table in found] == [
        "synthetic embedding_dim=8",
        "synthetic embedding_dim=16",
    ]
    full = [table.lines[1].size.full_nbytes for table in found]
    assert full == [4 * data.num_items * width for width in (8, 16)]
    assert len(contents(tmp_path)) == 2 * (2 + 5)


def test_data_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs Interactions"):
        sweep(spec(data="nycflights"), tmp_path, data=object(), progress=False)


def test_jobs_of_a_table_are_known_only_as_far_as_decided(tmp_path, data):
    (table,) = tables(spec(), data)
    grids = sum(len(line.cell.grid) for line in table.lines)
    assert len(list(table.wanted(Store(tmp_path)))) == grids
    assert all(isinstance(job, Job) for job in table.wanted(Store(tmp_path)))
