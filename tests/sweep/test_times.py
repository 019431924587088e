"""Times of methods: ratios to the full table, kept, and never at the price of a score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memcom.sweep import Spec, Store, summarise, sweep, tables
from memcom.sweep.times import take_times
from tests.sweep import toy
from tests.tasks.data import planted

EFFORT = {"epochs": 1, "embedding_dim": 8, "batch_size": 50}
SPEC = Spec(methods=(), ratios=(2,), seeds=1, learning_rates=(3e-2,), options=EFFORT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("trained")
    sweep(SPEC, folder, data=planted(), progress=False)
    return Store(folder)


def times_of(store: Store) -> dict[str, dict[str, float]]:
    (table,) = tables(SPEC, planted())
    names = ("lookup_time", "step_time")
    return {
        row.method: {name: row.others[name] for name in names if name in row.others}
        for row in summarise(table, store, draws=10)
    }


def test_every_table_is_timed_once_and_controls_are_not(
    trained: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (table,) = tables(SPEC, planted())
    take_times(table, trained, progress=False)
    times = times_of(trained)
    assert times["popular"] == times["bias-only"] == {}
    for method in ("full", "truncate", "low-rank", "small-dim"):
        assert times[method].keys() == {"lookup_time", "step_time"}
        assert all(0 < time < 100 for time in times[method].values())
    kept = {path: path.read_text() for path in (trained.folder / "times").iterdir()}
    assert len(kept) == 4
    take_times(table, trained, progress=False)
    assert kept == {path: path.read_text() for path in (trained.folder / "times").iterdir()}


def test_a_failing_stop_watch_loses_no_scores(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no clock")

    monkeypatch.setattr("memcom.tasks.ranking.measure", broken)
    with pytest.warns(UserWarning, match="full: times not measured.*no clock"):
        sweep(replace(SPEC, ratios=()), tmp_path, data=planted(), times=True, progress=False)
    assert len(Store(tmp_path).records()) == 3
    assert not any(times_of(Store(tmp_path)).values())


def test_a_task_without_times_says_so_before_anything_is_run(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="takes no times"):
        sweep(Spec(task=toy.NAME, profile="fast"), tmp_path, data=planted(), times=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{", "[1]", '{"lookup_time": null}'])
def test_a_damaged_file_of_times_is_named(tmp_path: Any, text: str) -> None:
    (table,) = tables(SPEC, planted())
    store, job = Store(tmp_path), table.job(table.lines[-1].cell.setting)
    path = store.put_times(job, {"lookup_time": 0.5})
    assert store.times(job) == {"lookup_time": 0.5}
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{job.key}.json holds no times"):
        store.times(job)
