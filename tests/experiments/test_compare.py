from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memcom.experiments import (
    ModelOptions,
    Profile,
    compare,
    compare_command,
    format_comparison,
    write,
)
from memcom.experiments.compare import _cells
from memcom.training import TrainingOptions
from tests.training.data import planted

TRAINING = TrainingOptions(epochs=16, batch_size=50, weight_decay=0.0)
QUICK = Profile((3e-2, 1e-1), TRAINING, timing=False)
SMALL = ModelOptions(embedding_dim=8)


@pytest.fixture(scope="module")
def comparison():  # type: ignore[no-untyped-def]
    return compare(
        planted(),
        ratios=[2, 20],
        methods=["hash", "memcom"],
        seeds=2,
        profile=QUICK,
        model=SMALL,
        progress=False,
    )


def test_controls_and_full_table_are_always_there_and_come_once(comparison) -> None:  # type: ignore[no-untyped-def]
    assert [(row.method, row.ratio) for row in comparison.rows] == [
        ("popular", None),
        ("bias-only", None),
        ("full", None),
        ("hash", 2),
        ("memcom", 2),
        ("hash", 20),
        ("memcom", 20),
    ]


def test_the_planted_task_carries_signal_and_says_so(comparison) -> None:  # type: ignore[no-untyped-def]
    rows = {(row.method, row.ratio): row for row in comparison.rows}
    assert comparison.carries_signal
    assert rows["full", None].ndcg > 1.5 * rows["popular", None].ndcg
    assert rows["hash", 2].ndcg > rows["hash", 20].ndcg
    assert rows["hash", 2].nbytes <= 60 * 8 * 4 / 2
    assert "WARNING" not in format_comparison(comparison)


def test_a_failed_trial_is_shown_as_failed(comparison) -> None:  # type: ignore[no-untyped-def]
    row = comparison.rows[-1]
    assert row.failed.startswith("BudgetError")
    assert math.isnan(row.ndcg)
    assert math.isnan(row.loss)
    line = format_comparison(comparison).splitlines()[-1]
    assert line.startswith("memcom")
    assert "failed: BudgetError: memcom cannot store 60 x 8" in line


def test_rows_are_the_means_of_their_trials(comparison) -> None:  # type: ignore[no-untyped-def]
    row = next(row for row in comparison.rows if row.method == "hash" and row.ratio == 2)
    mine = [r for r in comparison.results if (r.trial.method, r.trial.ratio) == ("hash", 2)]
    assert len(mine) == 3  # two rates with the first seed, one more seed
    grid = [r for r in mine if r.trial.seed == 0]
    best = max(grid, key=lambda r: r.valid_ndcg)
    (other,) = [r for r in mine if r.trial.seed == 1]
    assert row.learning_rate == best.trial.training.learning_rate
    assert other.trial.training.learning_rate == row.learning_rate
    per_seed = [best.ndcg.mean(), other.ndcg.mean()]
    assert row.ndcg == pytest.approx(np.mean(per_seed))
    assert row.seeds == 2
    full = [r for r in comparison.results if r.trial.method == "full"]
    rate = next(row for row in comparison.rows if row.method == "full").learning_rate
    reference = np.mean([r.ndcg.mean() for r in full if r.trial.training.learning_rate == rate])
    assert row.loss == pytest.approx(1 - np.mean(per_seed) / reference)
    assert row.loss_low <= row.loss <= row.loss_high


def test_two_runs_are_equal(comparison) -> None:  # type: ignore[no-untyped-def]
    again = compare(
        planted(),
        ratios=[2],
        methods=["hash"],
        seeds=2,
        profile=QUICK,
        model=SMALL,
        progress=False,
    )
    first = next(row for row in comparison.rows if row.method == "hash")
    # Equal to the last digit; repr, because NaN is not equal to itself.
    assert repr(replace(again.rows[-1], seconds=0)) == repr(replace(first, seconds=0))


def test_the_files_hold_the_table_and_every_trial(comparison, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    table, everything = write(comparison, tmp_path / "new")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == [row.method for row in comparison.rows]
    assert float(rows[2]["ndcg"]) == comparison.rows[2].ndcg
    assert rows[-1]["ndcg"] == ""
    stored = json.loads(everything.read_text())
    assert len(stored["trials"]) == len(comparison.results)
    assert stored["carries_signal"] is True
    failed = [t for t in stored["trials"] if t["failed"]]
    assert failed
    assert all("ndcg" not in t and t["valid_ndcg"] is None for t in failed)
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_task_without_signal_is_called_that() -> None:
    data = planted()
    noise = np.random.default_rng(0).permutation(data.item)
    _, keep = np.unique(np.stack([data.user, noise]), axis=1, return_index=True)
    hopeless = replace(
        data,
        user=data.user[keep],
        item=noise[keep],
        split=data.split[keep],
        item_counts=-np.sort(-np.bincount(noise[keep][data.split[keep] == 0], minlength=60)),
    )
    found = compare(
        hopeless, methods=["hash"], ratios=[2], seeds=1, profile=QUICK, model=SMALL, progress=False
    )
    assert not found.carries_signal
    text = format_comparison(found)
    assert "WARNING: full table" in text
    assert "no interval over seeds" in text


def test_times_are_ratios_to_the_full_table() -> None:
    timed = compare(
        planted(),
        methods=["hash"],
        ratios=[2],
        seeds=1,
        profile=Profile((3e-2,), replace(TRAINING, epochs=1)),
        model=SMALL,
        progress=False,
    )
    times = {row.method: (row.lookup_time, row.step_time) for row in timed.rows}
    assert all(math.isnan(x) for x in times["popular"])
    assert all(0 < x < 100 for x in (*times["full"], *times["hash"]))


def test_a_failing_stop_watch_loses_no_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    module = sys.modules["memcom.experiments.compare"]

    def broken(*_: object) -> None:
        raise RuntimeError("no clock")

    monkeypatch.setattr(module, "measure", broken)
    with pytest.warns(UserWarning, match="times not measured.*no clock"):
        found = compare(
            planted(),
            methods=[],
            seeds=1,
            profile=Profile((3e-2,), replace(TRAINING, epochs=1)),
            model=SMALL,
            progress=False,
        )
    assert found.rows[2].ndcg > 0


def test_methods_are_checked_before_anything_is_trained() -> None:
    with pytest.raises(ValueError, match="no compressor is called 'nope'"):
        _cells(["hash", "nope"], [2])
    assert [cell for cell in _cells(["full", "hash", "hash"], [2, 2])][3:] == [("hash", 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"ratios": [0.5]}, r">= 1, got \[0.5\]"),
        ({"ratios": []}, "ratios"),
        ({"profile": "slow"}, "one of fast, full, got 'slow'"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(planted(), **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command_on_a_file_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(
        sys.modules["memcom.experiments.compare"].PROFILES,
        "fast",
        Profile((3e-2,), TRAINING, False),
    )
    data = planted()
    path = tmp_path / "pairs.csv"
    lines = [f"u{u},i{i}" for u, i in zip(data.user, data.item, strict=True)]
    path.write_text("\n".join(["reader,paper", *lines]) + "\n")
    found = compare_command(
        data=str(path),
        user_col="reader",
        item_col="paper",
        ratios=[4],
        methods=["hash", "memcom"],
        seeds=1,
        profile="fast",
        out=tmp_path / "out",
        jobs=1,
    )
    printed = capsys.readouterr().out
    assert [row.method for row in found.rows[3:]] == ["hash", "memcom"]
    assert "nDCG@10" in printed
    assert (tmp_path / "out" / "compare.csv").exists()
    assert (tmp_path / "out" / "compare.json").exists()


def test_rows_of_labels_cannot_be_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.modules["memcom.experiments.command"], "load", lambda *_, **__: {})
    with pytest.raises(TypeError, match="compare ranks items"):
        compare_command(data="nycflights")


@pytest.mark.slow
def test_movielens_carries_signal() -> None:
    """The default task: the full table clearly beats both controls within a short training."""
    import memcom.data

    movielens = memcom.data.load("movielens")
    found = compare(
        movielens,
        methods=[],
        seeds=1,
        profile=Profile((1e-2,), TrainingOptions(epochs=25), timing=False),
        progress=False,
    )
    assert found.carries_signal
