"""Times of methods: ratios to the full table, kept, and never at the price of a score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memcom.sweep import Spec, Store, run, summarise, tables
from memcom.sweep.scheduler import time_methods
from tests.sweep import toy
from tests.tasks.data import planted

EFFORT = {"epochs": 1, "embedding_dim": 8, "batch_size": 50}
SPEC = Spec(methods=(), ratios=(2,), seeds=1, learning_rates=(3e-2,), options=EFFORT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("trained")
    run(SPEC, folder, data=planted(), progress=False)
    return Store(folder)


def times_of(store: Store) -> dict[str, dict[str, float]]:
    (table,) = tables(SPEC, planted())
    names = ("lookup_time", "step_time")
    return {
        row.method: {name: row.others[name] for name in names if name in row.others}
        for row in summarise(table, store, draws=10)
    }


def test_every_table_is_timed_once_and_controls_are_not(trained: Store) -> None:
    (table,) = tables(SPEC, planted())
    time_methods(table, trained, progress=False)
    times = times_of(trained)
    assert times["popular"] == times["bias-only"] == {}
    for method in ("full", "truncate", "low-rank", "small-dim"):
        assert times[method].keys() == {"lookup_time", "step_time"}
        assert all(0 < time < 100 for time in times[method].values())
    kept = {path: path.read_text() for path in (trained.folder / "times").iterdir()}
    assert len(kept) == 4
    time_methods(table, trained, progress=False)
    assert kept == {path: path.read_text() for path in (trained.folder / "times").iterdir()}


def test_an_error_of_timing_loses_no_scores(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no clock")

    monkeypatch.setattr("memcom.tasks.ranking.task.time_lookup", broken)
    with pytest.warns(UserWarning, match="full: .*no clock"):
        run(replace(SPEC, ratios=()), tmp_path, data=planted(), times=True, progress=False)
    assert len(Store(tmp_path).records()) == 3
    assert not any(times_of(Store(tmp_path)).values())


def test_a_task_without_times_says_so_before_anything_is_run(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="takes no times"):
        run(Spec(task=toy.NAME, profile="fast"), tmp_path, data=planted(), times=True)
    assert not list(tmp_path.iterdir())
