"""Which trials are run, once each, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import multiprocessing
import random
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from memcom.sweep import DamagedRecordError, Record, Store, Table, Trial, run, summarise, tables
from memcom.sweep.scheduler import run_pending, time_methods
from memcom.sweep.trial import UndeliveredError, run_trial
from tests.sweep.toy import NUM_TRIALS, contents, runs, spec


def in_another_process(folder: Path, data: Any, **changes: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(
        target=run, args=(spec(**changes), folder), kwargs={"data": data, "progress": False}
    )
    process.start()
    return process


def test_every_trial_once_and_never_again(tmp_path, data, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    run(spec(), tmp_path / "out", data=data, progress=False)
    assert len(runs(log)) == runs(log).total() == NUM_TRIALS
    before = contents(tmp_path / "out")
    assert len(before) == NUM_TRIALS
    run(spec(), tmp_path / "out", data=data, progress=False)
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
    run(spec(**options), folder, data=data, progress=False)
    repeated = runs(tmp_path / "log")
    assert len(repeated) == NUM_TRIALS
    assert repeated.total() <= NUM_TRIALS + kills  # no more than what was under way at each kill
    monkeypatch.delenv("TOY_LOG")
    run(spec(**options), tmp_path / "undisturbed", data=data, progress=False)
    assert contents(folder) == contents(tmp_path / "undisturbed")


def test_what_a_killed_process_left_half_written_goes(tmp_path, data):
    run(spec(), tmp_path, data=data, progress=False)
    (table,) = tables(spec(), data)
    path = Store(tmp_path).path(table.cells[-1].first)
    before = contents(tmp_path)
    path.unlink()
    path.with_name(f".{path.name}.abc123.json").write_text('{"format": 1, "key": "')
    run(spec(), tmp_path, data=data, progress=False)
    assert contents(tmp_path) == before


class Unlucky:
    """An engine with two slots whose first trials end with an error, stored before or not."""

    def __init__(self, data: Any, errors: list[Exception], store: Store | None = None) -> None:
        self.data, self.errors, self.store = data, errors, store
        self.alone: list[bool] = []
        self.futures: list[Future[Record]] = []

    def slots(self) -> int:
        return 2

    def submit(self, trial: Trial) -> Future[Record]:
        self.alone.append(True)
        if sum(not future.done() for future in self.futures):
            self.alone[-2:] = [False, False]
        self.futures.append(future := Future())
        error = self.errors.pop(0) if self.errors else None

        def end() -> None:
            if error is None:
                future.set_result(run_trial(trial, self.data))
            else:
                if self.store is not None:
                    self.store.put(run_trial(trial, self.data))
                future.set_exception(error)

        threading.Timer(0.01, end).start()
        return future


def few_trials(data: Any) -> Table:
    (table,) = tables(spec(ratios=(2,), learning_rates=(0.1,), seeds=1), data)
    return table


def test_a_worker_lost_beside_others_is_not_held_against_its_trial(tmp_path, data):
    engine = Unlucky(data, [RuntimeError("died")] * 2)
    run_pending(few_trials(data), Store(tmp_path), engine, progress=False)
    records = Store(tmp_path).records()
    assert len(records) == 7
    assert all(record.outcome is not None for record in records)
    assert len(engine.alone) == 9
    assert engine.alone.count(True) >= 2  # the two that lost a worker ran again, each alone


def test_a_trial_fails_after_losing_three_workers_alone(tmp_path, data):
    table = few_trials(data)
    table = dataclasses.replace(table, cells=table.cells[1:2])
    engine = Unlucky(data, [RuntimeError("died")] * 4)
    run_pending(table, Store(tmp_path), engine, progress=False)
    (record,) = Store(tmp_path).records()
    assert "worker died 3 times" in record.failed
    assert len(engine.alone) == 4  # the first was not known to be alone: there were two slots


def test_a_record_stored_before_its_worker_died_counts(tmp_path, data):
    engine = Unlucky(data, [RuntimeError("died")] * 7, Store(tmp_path))
    run_pending(few_trials(data), Store(tmp_path), engine, progress=False)
    assert len(engine.alone) == len(Store(tmp_path).records()) == 7
    assert not any(record.failed for record in Store(tmp_path).records())


def test_a_trial_that_cannot_be_sent_stops_the_sweep_and_is_no_failure(tmp_path, data):
    engine = Unlucky(data, [UndeliveredError("no such module")] * 30)
    with pytest.raises(RuntimeError, match=r"3 times: no such module"):
        run_pending(few_trials(data), Store(tmp_path), engine, progress=False)
    assert not Store(tmp_path).records()
    run_pending(few_trials(data), Store(tmp_path), Unlucky(data, []), progress=False)
    assert len(Store(tmp_path).records()) == 7  # all locks were free


def test_a_record_that_cannot_be_written_stops_the_sweep_and_is_no_failure(tmp_path, data):
    engine = Unlucky(data, [OSError(28, "No space left on device")] * 30)
    with pytest.raises(OSError, match="No space left"):
        run_pending(few_trials(data), Store(tmp_path), engine, progress=False)
    assert not Store(tmp_path).records()
    run_pending(few_trials(data), Store(tmp_path), Unlucky(data, []), progress=False)
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
    (table,) = tables(spec(), data)
    pending = [trial for cell in table.progress(Store(tmp_path)) for trial in cell.pending]
    assert pending == [trial for cell in table.cells for trial in cell.grid]  # as far as is decided
    run(spec(), tmp_path, data=data, progress=False)
    records = {record.trial: record for record in Store(tmp_path).records()}
    for cell in table.cells:
        if cell.first.learning_rate is None:
            continue
        best = max(cell.grid, key=lambda trial: records[trial].outcome.valid)
        for seed in (1, 2):
            rates = [
                trial.learning_rate
                for trial in records
                if (trial.seed, trial.method, trial.ratio) == (seed, best.method, best.ratio)
            ]
            assert rates == [best.learning_rate]


def test_failed_trials_are_kept_and_can_be_retried(tmp_path, data, monkeypatch):
    monkeypatch.setenv("TOY_FAIL", "hash")
    run(spec(), tmp_path, data=data, progress=False)
    store = Store(tmp_path)
    failed = [record for record in store.records() if record.outcome is None]
    # Only the grid: with no learning rate left there is nothing to give more seeds to.
    assert [(record.trial.method, record.failed) for record in failed] == [
        ("hash", "RuntimeError: as it was told to")
    ] * (2 * 2)
    assert all("in run" in record.traceback for record in failed)

    monkeypatch.delenv("TOY_FAIL")
    run(spec(), tmp_path, data=data, progress=False)  # without being told to, not again
    assert sum(r.outcome is None for r in Store(tmp_path).records()) == 4
    run(spec(), tmp_path, data=data, progress=False, retry_failed=True)
    records = Store(tmp_path).records()
    assert len(records) == NUM_TRIALS
    assert all(record.outcome is not None for record in records)


def test_a_damaged_file_stops_a_sweep_by_name_and_is_run_again_on_demand(tmp_path, data):
    run(spec(), tmp_path, data=data, progress=False)
    before = contents(tmp_path)
    paths = sorted((tmp_path / "trials").rglob("*.json"))
    paths[0].write_text(paths[0].read_text().replace('"valid": 0.', '"valid": 1.'))
    paths[20].write_text("[]")
    paths[30].unlink()
    paths[30].symlink_to(paths[31])
    for _ in range(2):  # it stays damaged
        with pytest.raises(DamagedRecordError, match="--retry-failed"):
            run(spec(), tmp_path, data=data, progress=False)
    run(spec(), tmp_path, data=data, progress=False, retry_failed=True)
    assert contents(tmp_path) == before
    assert not paths[30].is_symlink()


def test_a_method_that_cannot_be_so_small_is_left_out(tmp_path, data):
    (table,) = run(spec(ratios=(40,)), tmp_path, data=data, progress=False)
    ruled_out = {cell.first.method for cell in table.cells if cell.impossible}
    assert "memcom" in ruled_out  # its ceiling is a ratio below the width, 16
    assert "hash" not in ruled_out
    assert not list((tmp_path / "trials").rglob("memcom/*"))


def test_every_combination_of_varied_options_is_a_table(tmp_path, data):
    found = run(
        spec(ratios=(2,), seeds=1, vary={"embedding_dim": [8, 16]}, learning_rates=(0.1,)),
        tmp_path,
        data=data,
        progress=False,
    )
    assert [table.label for table in found] == [
        "synthetic embedding_dim=8",
        "synthetic embedding_dim=16",
    ]
    full = [table.cells[1].size.full_nbytes for table in found]
    assert full == [4 * data.num_items * width for width in (8, 16)]
    assert len(contents(tmp_path)) == 2 * (2 + 5)


def test_data_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs Interactions"):
        run(spec(data="nycflights"), tmp_path, data=object(), progress=False)


def test_every_table_is_timed_once_and_controls_are_not(tmp_path, data, monkeypatch):
    timed = spec(task="tests.sweep.toy:TIMED", ratios=(2,), seeds=1)
    (table,) = run(timed, tmp_path, data=data, times=True, progress=False)
    others = {row.method: row.others for row in summarise(table, Store(tmp_path), draws=10)}
    assert "lookup_time" not in others.pop("popular")
    assert {(each["lookup_time"], each["step_time"]) for each in others.values()} == {(0.5, 2.0)}
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "times").iterdir()}
    assert len(times) == len(others) == 6
    monkeypatch.setattr(Store, "put_times", pytest.fail)
    run(timed, tmp_path, data=data, times=True, progress=False)


def test_an_error_of_timing_loses_no_scores(tmp_path, data):
    def broken(*_: object) -> None:
        raise RuntimeError("no clock")

    full = spec(methods=(), ratios=())
    run(full, tmp_path, data=data, progress=False)
    (table,) = tables(full, data)
    broken_table = dataclasses.replace(table, task=dataclasses.replace(table.task, time=broken))
    with pytest.warns(UserWarning, match="full: .*no clock"):
        time_methods(broken_table, Store(tmp_path), progress=False)
    rows = summarise(table, Store(tmp_path), draws=10)
    assert all(row.status == "finished" and "lookup_time" not in row.others for row in rows)


def test_a_task_without_times_says_so_before_anything_is_run(tmp_path, data):
    with pytest.raises(ValueError, match=r"toy.*takes no times"):
        run(spec(), tmp_path, data=data, times=True)
    assert not list(tmp_path.iterdir())
