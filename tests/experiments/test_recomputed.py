"""One table, from its trials alone, with a few lines of NumPy instead of the harness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
stats = pytest.importorskip("scipy.stats")

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
ROW = ["method", "ratio"]


@pytest.fixture(scope="module")
def summary():
    return pd.read_csv(RESULTS / "ml-1m" / "summary.csv").set_index(ROW)


@pytest.fixture(scope="module")
def chosen():
    """The trials of each row at the learning rate whose first seed is best on validation."""
    trials = pd.read_csv(RESULTS / "ml-1m" / "trials.csv")
    assert (trials["status"] == "finished").all()
    found = {}
    for row, own in trials.groupby(ROW, dropna=False):
        first = own[own["seed"] == 0]
        rate = first.loc[first["valid_ndcg"].idxmax(), "learning_rate"]
        found[row] = own[(own["learning_rate"] == rate) | own["learning_rate"].isna()]
    return found


def test_every_row_is_the_mean_of_its_trials(summary, chosen):
    assert len(chosen) == len(summary[summary["status"] == "finished"]) > 40
    (full,) = (own["ndcg"].mean() for (method, _), own in chosen.items() if method == "full")
    for row, own in chosen.items():
        written = summary.loc[[row]].iloc[0]
        assert sorted(own["seed"]) == list(range(int(written["seeds"])))
        assert np.isclose(written["ndcg"], own["ndcg"].mean(), rtol=1e-12)
        assert written["learning_rate"] == own["learning_rate"].iloc[0] or row[0] == "popular"
        assert written["nbytes"] == own["nbytes"].iloc[0]
        assert written["total_nbytes"] == own["total_nbytes"].iloc[0]
        if row[0] != "full":
            assert np.isclose(written["loss"], 1 - own["ndcg"].mean() / full, rtol=1e-9)


def test_intervals_are_no_narrower_than_the_seeds_alone_make_them(summary, chosen):
    """At the spread that is usual among all rows, which a single row of three seeds can miss."""
    spreads = [own["ndcg"].std() / own["ndcg"].mean() for own in chosen.values() if len(own) > 1]
    usual = np.median(spreads) / np.sqrt(np.log(2))  # the median of chi^2(2) / 2 is ln 2
    for row, own in chosen.items():
        written = summary.loc[[row]].iloc[0]
        if len(own) > 1 and row[0] != "full":
            half = (written["loss_high"] - written["loss_low"]) / 2
            both = usual * np.sqrt(2 / 3) * own["ndcg"].mean() / 0.3969
            assert half > 1.5 * both


def test_p_values_are_adjusted_by_holm(summary):
    p = summary["p_value"].dropna().sort_values()
    steps = p * np.arange(len(p), 0, -1)
    expected = steps.cummax().clip(upper=1)
    assert np.allclose(summary.loc[p.index, "p_holm"], expected)
    half = (summary["loss_high"] - summary["loss_low"]) / 2 / stats.t.ppf(0.975, 4)
    by_hand = 2 * stats.t.sf(summary["loss"].abs() / half, 4)
    assert np.allclose(summary["p_value"], np.maximum(by_hand, 1e-6), equal_nan=True)
