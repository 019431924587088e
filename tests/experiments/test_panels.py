"""The picture of all data sets has the rows that the sweeps have, and the abstract's points."""

from __future__ import annotations

from pathlib import Path

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("scipy.stats")

from experiments.claims import Results, abstract_panels, loss_panels
from experiments.claims.panels import METHODS, PANELS

COMMITTED = Path(__file__).resolve().parents[2] / "experiments" / "results"


def test_every_panel_is_drawn_from_one_committed_table():
    results = Results(COMMITTED)
    panels = loss_panels(results)
    assert list(panels) == list(PANELS)
    for title, rows in panels.items():
        assert results.variants(PANELS[title]) == [{}]
        table = pd.read_csv(COMMITTED / PANELS[title] / "summary.csv")
        kept = table[table["method"].isin(METHODS) & (table["status"] == "finished")]
        assert sorted((row["method"], row["ratio"]) for row in rows) == sorted(
            zip(kept["method"], kept["ratio"], strict=True)
        )
        assert sum(row["loss"] for row in rows) == pytest.approx(kept["loss"].sum())


def test_a_sweep_that_was_not_made_has_no_panel(tmp_path):
    (tmp_path / "ml-1m").mkdir()
    for path in (COMMITTED / "ml-1m").glob("*.csv"):
        (tmp_path / "ml-1m" / path.name).write_bytes(path.read_bytes())
    assert list(loss_panels(Results(tmp_path))) == ["ml-1m"]


def test_the_abstract_speaks_of_ranking_at_four_ratios():
    panels = abstract_panels()
    assert panels.keys() < PANELS.keys()
    for points in panels.values():
        assert sorted(point["compression_ratio"] for point in points) == [4, 12, 16, 40]
        assert {point["loss"] for point in points} == {0.04}
