"""Rows of a finished sweep: their numbers against NumPy and SciPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from memcom.sweep import Store, p_value, run, summarise, tables
from memcom.sweep.statistics import seed_spreads
from tests.sweep.toy import spec


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    (table,) = run(spec(), folder, data=data, progress=False)
    return table, Store(folder)


@pytest.fixture(scope="module")
def rows(finished):
    return {(row.method, row.ratio): row for row in summarise(*finished, draws=4000)}


def units_of(store, method, ratio):
    """``(seeds, users)`` of the learning rate that is best on validation, straight from files."""
    records = [r for r in store.records() if (r.trial.method, r.trial.ratio) == (method, ratio)]
    first = [r for r in records if r.trial.seed == 0]
    rate = max(first, key=lambda r: r.outcome.valid).trial.learning_rate
    same = sorted((r for r in records if r.trial.learning_rate == rate), key=lambda r: r.trial.seed)
    return np.stack([r.outcome.units["score"] for r in same]).astype(np.float64)


def spread_of(store, own, other):
    """Spreads of two rows' seeds with their degrees of freedom, moderated over all rows."""
    rows = sorted({(r.trial.method, r.trial.ratio or 0) for r in store.records()})
    values = {row: units_of(store, row[0], row[1] or None) for row in rows}
    values = {row: each for row, each in values.items() if len(each) > 1}
    found = seed_spreads(values)
    return [next(found[r] for r in values if np.array_equal(values[r], v)) for v in (own, other)]


def interval_of_loss(own, other, spreads):
    """Ends of the interval over users and seeds with plain loops and other random numbers."""
    rng, again = np.random.default_rng(9), []
    for _ in range(4000):
        users = rng.integers(0, 50, 50)
        one, two = (1 + spread * rng.standard_t(df) / math.sqrt(3) for spread, df in spreads)
        again.append(1 - one * own[:, users].mean() / (two * other[:, users].mean()))
    return np.percentile(again, [2.5, 97.5])


def assert_is_the_loss(loss, own, other, store):
    assert loss.value == pytest.approx(1 - own.mean() / other.mean(), abs=1e-6)  # float32
    low, high = interval_of_loss(own, other, spread_of(store, own, other))
    assert [loss.low, loss.high] == pytest.approx([low, high], abs=0.1 * (high - low))


def test_a_row_against_numpy_and_scipy(finished, rows):
    _, store = finished
    row, values = rows["hash", 4.0], units_of(store, "hash", 4.0)
    full = units_of(store, "full", None)
    assert values.shape == (3, 50)
    assert row.seeds == 3
    assert row.value.value == pytest.approx(values.mean(), rel=1e-6)
    half = stats.t.ppf(0.975, 2) * values.mean(1).std(ddof=1) / math.sqrt(3)
    assert row.seed_half_width == pytest.approx(half, rel=1e-5)
    assert row.p_value == p_value(row.loss)
    assert_is_the_loss(row.loss, values, full, store)


def test_every_pair_at_one_budget(finished, rows):
    _, store = finished
    others = {"small-dim", "low-rank", "truncate", "memcom"}
    assert set(rows["hash", 2.0].against) == others
    assert set(rows["full", None].against) == {"popular"}
    assert len([pair for row in rows.values() for pair in row.pairs()]) == 2 * 5 * 4 + 2
    own, other = units_of(store, "hash", 2.0), units_of(store, "memcom", 2.0)
    assert_is_the_loss(rows["hash", 2.0].against["memcom"], own, other, store)


def test_a_metric_without_units_has_an_interval_over_paired_seeds(finished, tmp_path):
    table, store = finished
    bare = Store(tmp_path)
    for record in store.records():
        bare.put(replace(record, outcome=replace(record.outcome, units={})))
    row = next(r for r in summarise(table, bare) if (r.method, r.ratio) == ("hash", 4.0))
    own, full = units_of(store, "hash", 4.0).mean(1), units_of(store, "full", None).mean(1)
    half = stats.t.ppf(0.975, 2) * (1 - own / full).std(ddof=1) / math.sqrt(3)
    assert row.loss.high - row.loss.value == pytest.approx(half, rel=1e-3)
    assert row.loss.value - row.loss.low == pytest.approx(half, rel=1e-3)
    one = stats.ttest_1samp(1 - own / full, 0).pvalue
    assert row.p_value == pytest.approx(one, rel=1e-2)


def test_bytes_are_those_stored(rows, data):
    for row in rows.values():
        if row.ratio is not None:
            full = 4 * data.num_items * 16
            assert row.nbytes <= full / row.ratio
            assert row.compression_ratio == full / row.nbytes
            assert row.total_nbytes == row.nbytes + 100


@pytest.mark.parametrize("grid", [(0.2,), (0.1, 0.2), (0.1, 0.2, 0.3)])
def test_rows_know_their_end_of_the_grid_and_their_last_epochs(tmp_path, data, grid):
    (table,) = run(spec(learning_rates=grid), tmp_path, data=data, progress=False)
    rows, ends = summarise(table, Store(tmp_path), draws=10), set()
    for row in rows[1:]:  # all but popular, which learns nothing
        where = grid.index(row.learning_rate)
        place = {0: "lowest", len(grid) - 1: "highest"}.get(where, "")
        assert row.tuned["learning_rate"].end == ("only" if len(grid) == 1 else place)
        seeds = [r for r in row.records if r.trial.learning_rate == row.learning_rate]
        assert row.last_epoch == sum(r.outcome.best_epoch == 3 for r in seeds)
        ends.add(row.tuned["learning_rate"].end)
    assert len(ends) == len(grid)
    assert (rows[0].tuned["learning_rate"], rows[0].last_epoch) == ((None, ""), 0)


def test_an_unfinished_row_says_so(tmp_path, data):
    (table,) = tables(spec(), data)
    rows = summarise(table, Store(tmp_path))
    assert {row.status.split(":")[0] for row in rows} == {"unfinished"}
    assert all(math.isnan(row.value.value) for row in rows)


def test_references_have_their_bytes_and_no_ratio(tmp_path, data):
    (table,) = run(spec(references=["random", "still"]), tmp_path, data=data, progress=False)
    rows = {row.method: row for row in summarise(table, Store(tmp_path), draws=100)}
    for name, seeds in (("random", 3), ("still", 1)):
        row = rows[name]
        assert (row.status, row.seeds, row.ratio, row.nbytes) == ("finished", seeds, None, 1000)
        assert math.isnan(row.compression_ratio)
        assert math.isnan(row.learning_rate)
        assert not math.isnan(row.loss.low)


def test_a_reference_that_cannot_be_computed_says_why(tmp_path, data):
    (table,) = run(spec(references=["too-large"]), tmp_path, data=data, progress=False)
    row = next(r for r in summarise(table, Store(tmp_path), draws=10) if r.method == "too-large")
    assert row.status == "cannot be computed: too-large is too large"


def test_what_is_derived_from_the_full_table_is_a_row_that_cost_nothing(
    tmp_path, data, monkeypatch
):
    monkeypatch.setenv("TOY_DERIVED", "1")
    (table,) = run(spec(), tmp_path, data=data, progress=False)
    rows = summarise(table, Store(tmp_path), draws=100)
    place = [row.method for row in rows].index("full")
    full, halved = rows[place : place + 2]
    assert (halved.method, halved.compression_ratio, halved.seeds) == ("halved", 2.0, 3)
    assert (halved.seconds, halved.records) == (0, [])
    assert halved.value.value == full.value.value
    assert halved.learning_rate == full.learning_rate
    assert full.against["halved"].value == 0
