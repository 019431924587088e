"""Reports: their numbers against NumPy and SciPy, and nothing swept under the carpet."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from memcom.data import load
from memcom.sweep.estimate import dry_run
from memcom.sweep.planning import tables
from memcom.sweep.render import duration
from memcom.sweep.report import write_report
from memcom.sweep.running import sweep
from memcom.sweep.store import Store
from memcom.sweep.summary import compare_pairs, summarise
from tests.sweep.test_sweep import NUM_TRIALS, spec

stats = pytest.importorskip("scipy.stats")


@pytest.fixture(scope="module")
def data():
    return load("synthetic", num_users=60, num_items=100)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return sweep(spec(), folder, data=data, progress=False), folder


def units_of(store, method, ratio):
    """``(seeds, users)`` of the learning rate that is best on validation, straight from files."""
    records = [
        r for r in store.records() if (r.job.setting.method, r.job.setting.ratio) == (method, ratio)
    ]
    first = [r for r in records if r.job.setting.seed == 0]
    rate = max(first, key=lambda r: r.outcome.valid).job.setting.learning_rate
    same = [r for r in records if r.job.setting.learning_rate == rate]
    same.sort(key=lambda r: r.job.setting.seed)
    return np.stack([r.outcome.units["score"] for r in same]).astype(np.float64)


def test_rows_against_numpy_and_scipy(finished):
    (table,), folder = finished
    store = Store(folder)
    rows = {(row.method, row.ratio): row for row in summarise(table, store, draws=4000)}
    row, values, full = (
        rows["hash", 4.0],
        units_of(store, "hash", 4.0),
        units_of(store, "full", None),
    )
    assert values.shape == (3, 50)
    assert row.seeds == 3
    assert row.value.value == pytest.approx(values.mean(), rel=1e-6)
    assert row.loss.value == pytest.approx(1 - values.mean() / full.mean(), rel=1e-6)
    per_seed = values.mean(1)
    half = stats.t.ppf(0.975, 2) * stats.sem(per_seed)
    assert row.half_width == pytest.approx(half, rel=1e-3)
    difference = values.mean(0) - full.mean(0)
    assert row.p_value == pytest.approx(stats.wilcoxon(difference).pvalue, rel=1e-6)
    assert row.p_value_t == pytest.approx(stats.ttest_1samp(difference, 0).pvalue, rel=1e-6)

    # The same two-level bootstrap with plain loops and other random numbers.
    rng = np.random.default_rng(9)
    again = []
    for _ in range(2000):
        users = rng.integers(0, 50, 50)
        own = values[rng.integers(0, 3, 3)][:, users].mean()
        again.append(1 - own / full[rng.integers(0, 3, 3)][:, users].mean())
    low, high = np.percentile(again, [2.5, 97.5])
    assert row.loss.low == pytest.approx(low, abs=0.1 * (high - low))
    assert row.loss.high == pytest.approx(high, abs=0.1 * (high - low))


def test_every_pair_against_plain_loops(finished):
    (table,), folder = finished
    store = Store(folder)
    pairs = compare_pairs(table, store, draws=4000)
    at_two = [row for row in pairs if row["ratio"] == 2]
    assert len(at_two) == 5 * 4
    assert len(pairs) == 2 * 5 * 4 + 2  # and full against popular, and back
    (row,) = (r for r in at_two if (r["method"], r["other"]) == ("hash", "memcom"))
    own, other = units_of(store, "hash", 2.0), units_of(store, "memcom", 2.0)
    assert row["loss"] == pytest.approx(1 - own.mean() / other.mean(), rel=1e-6)
    rng, again = np.random.default_rng(9), []
    for _ in range(2000):
        users = rng.integers(0, 50, 50)
        value = own[rng.integers(0, 3, 3)][:, users].mean()
        again.append(1 - value / other[rng.integers(0, 3, 3)][:, users].mean())
    low, high = np.percentile(again, [2.5, 97.5])
    assert row["loss_low"] == pytest.approx(low, abs=0.1 * (high - low))
    assert row["loss_high"] == pytest.approx(high, abs=0.1 * (high - low))


def test_a_metric_without_units_has_an_interval_over_paired_seeds(finished, tmp_path):
    (table,), folder = finished
    bare = Store(tmp_path)
    for record in Store(folder).records():
        bare.put(replace(record, outcome=replace(record.outcome, units={})))
    rows = {(row.method, row.ratio): row for row in summarise(table, bare)}
    losses = [
        1 - np.float64(own).mean() / np.float64(full).mean()
        for own, full in zip(
            units_of(Store(folder), "hash", 4.0), units_of(Store(folder), "full", None), strict=True
        )
    ]
    loss, half = rows["hash", 4.0].loss, stats.t.ppf(0.975, 2) * stats.sem(losses)
    assert loss.high - loss.value == pytest.approx(half, rel=1e-3)
    assert loss.value - loss.low == pytest.approx(half, rel=1e-3)
    assert math.isnan(rows["hash", 4.0].p_value)


def test_bytes_are_those_stored(finished, data):
    (table,), folder = finished
    for row in summarise(table, Store(folder), draws=10):
        if row.ratio is None:
            continue
        full = 4 * data.num_items * 16
        assert row.nbytes <= full / row.ratio
        assert row.compression_ratio == full / row.nbytes
        assert row.total_nbytes == row.nbytes + 100


def test_files_hold_every_row_and_every_trial(finished, tmp_path):
    found, folder = finished
    files = write_report(found, folder).files
    with open(files["summary"]) as file:
        summary = list(csv.DictReader(file))
    with open(files["trials"]) as file:
        trials = list(csv.DictReader(file))
    assert len(summary) == 2 + 2 * 5
    assert len(trials) == len({row["key"] for row in trials}) == NUM_TRIALS
    (hashed,) = [r for r in summary if (r["method"], r["ratio"]) == ("hash", "2.0")]
    assert float(hashed["score"]) == pytest.approx(
        units_of(Store(folder), "hash", 2.0).mean(), rel=1e-6
    )
    text = files["report"].read_text()
    for control in ("popular", "full", "small-dim", "low-rank", "truncate"):
        assert f"\n{control} | " in text
    assert "clearly above the controls" in text


def test_the_picture_gets_the_rows(finished):
    found, folder = finished
    plots = pytest.importorskip("memcom.plots")
    seen = {}

    def draw(rows, **names):
        seen["rows"], seen["names"] = rows, names
        return plots.quality_against_ratio(rows, **names)

    files = write_report(found, folder, draw=draw).files
    picture = files["picture synthetic"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"]({picture.name})" in files["report"].read_text()
    assert seen["names"] == {"quality": "score", "label": "score"}
    assert len(seen["rows"]) == 12


def test_the_full_table_and_its_controls_alone_have_a_report_but_no_picture(tmp_path, data):
    alone = spec(methods=(), ratios=(), seeds=1)
    found = sweep(alone, tmp_path, data=data, progress=False)
    files = write_report(found, tmp_path, draw=pytest.fail).files
    assert set(files) == {"report", "summary", "pairs", "trials"}
    with open(files["summary"]) as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["popular", "full"]


def test_failures_are_shown_and_are_no_scores(tmp_path, data, monkeypatch):
    monkeypatch.setenv("TOY_FAIL", "hash")
    found = sweep(spec(ratios=(2, 40), seeds=1), tmp_path, data=data, progress=False)
    files = write_report(found, tmp_path).files
    with open(files["summary"]) as file:
        rows = {(r["method"], r["ratio"]): r for r in csv.DictReader(file)}
    failed, impossible = rows["hash", "2.0"], rows["memcom", "40.0"]
    assert failed["status"] == "failed: RuntimeError: as it was told to"
    assert failed["score"] == failed["loss"] == failed["p_value"] == ""
    assert failed["failed"] == "2"
    assert impossible["status"].startswith("cannot be that small: ")
    text = files["report"].read_text()
    assert "\nhash | failed | " in text
    assert "Traceback (most recent call last)" in text
    assert "Fewer than three seeds" in text


def test_what_is_unfinished_says_so(tmp_path, data):
    found = list(tables(spec(), data))
    rows = summarise(found[0], Store(tmp_path))
    assert {row.status.split(":")[0] for row in rows} == {"unfinished"}
    assert all(math.isnan(row.value.value) for row in rows)
    assert "WARNING" in write_report(found, tmp_path).files["report"].read_text()


def test_a_dry_run_plans_bytes_and_runs_nothing(tmp_path, data):
    text = dry_run(list(tables(spec(ratios=(2, 40)), data)), tmp_path, probe=False)
    assert not list(tmp_path.iterdir())
    (full,) = [line.split() for line in text.splitlines() if line.startswith("  full")]
    assert full[1:4] == [f"{4 * 16 * data.num_items:,}", "1.00", "4"]
    lines = [line for line in text.splitlines() if line.startswith("  memcom")]
    assert "cannot be that small" not in lines[0]
    assert "cannot be that small" in lines[1]
    assert "?" in text


def test_a_dry_run_knows_what_is_done_and_how_long_it_took(finished, data, tmp_path):
    (_, folder) = finished
    text = dry_run(list(tables(spec(seeds=5), data)), folder, probe=False)
    assert ", 4 done" in text
    assert "?" not in text
    assert text.splitlines()[-1].startswith(f"{1 + 11 * 6} trials; about ")


def test_durations_are_readable():
    assert [duration(s) for s in (0, 89, 90, 5399, 5400)] == [
        "0 s",
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
    ]
