"""The pictures of the documentation are drawn from the committed rows."""

from __future__ import annotations

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

import memcom
from experiments.claims import Results
from experiments.head_shares import RANKING
from experiments.pages import pictures
from experiments.pages.tables import METHODS
from memcom.plots import method_style

PUBLISHED = pd.read_csv(pictures.PUBLISHED)


def lines_of(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_the_headline_shows_what_each_method_keeps_on_ml_1m():
    (ax,) = pictures.draw_headline().axes
    lines = lines_of(ax)
    sweeps = {"mixed-radix": "quotient-remainder"} | dict.fromkeys(METHODS, "ml-1m")
    for method, sweep in sweeps.items():
        rows = pd.read_csv(pictures.RESULTS / sweep / "summary.csv")
        rows = rows[(rows["method"] == method) & (rows["data"] == "ml-1m")].dropna(subset=["loss"])
        rows = rows.drop_duplicates("compression_ratio").sort_values("compression_ratio")
        line = lines[method_style(method).label]
        assert list(line.get_xdata()) == pytest.approx(list(rows["compression_ratio"]))
        assert list(line.get_ydata()) == pytest.approx(list(100 - 100 * rows["loss"]))
    assert set(lines["full table"].get_ydata()) == {100}
    assert 45 < lines["most popular"].get_ydata()[0] < 55


def test_every_panel_is_drawn_from_one_committed_table():
    figure, results = pictures.draw_data_sets(), Results()
    titled = {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}
    assert list(titled) == list(pictures.PANELS)
    for title, ax in titled.items():
        sweep = pictures.PANELS[title]
        assert results.tables(sweep) == [{}]
        rows = pd.read_csv(pictures.RESULTS / sweep / "summary.csv")
        drawn = lines_of(ax)
        for method in METHODS:
            kept = rows[(rows["method"] == method) & (rows["status"] == "finished")]
            line = drawn.get(method_style(method).label)
            assert len(kept) == (0 if line is None else len(line.get_xdata()))
            if line is not None:
                assert sorted(line.get_ydata()) == pytest.approx(sorted(100 * kept["loss"]))
        assert ("MEmCom, as published" in drawn) == (title in RANKING)


def test_the_abstract_of_memcom_is_drawn_as_published():
    ranking = PUBLISHED[PUBLISHED["metric"] == "ndcg"].set_index(["method", "compression_ratio"])
    assert ranking.loc["memcom", "loss"].to_dict() == {4: 0.04, 12: 0.04, 16: 0.04, 40: 0.04}
    rivals = ranking.loc["best other method", "loss"].to_dict()
    assert rivals == {4: 0.06, 12: 0.10, 16: 0.16, 40: 0.08}


def test_published_figures_are_of_known_methods_and_have_a_source():
    assert set(PUBLISHED["method"]) <= {*memcom.available(), "best other method"}
    assert PUBLISHED["source"].notna().all()
    assert PUBLISHED["loss"].between(0, 1, inclusive="neither").all()
    assert (PUBLISHED["compression_ratio"] > 1).all()


def test_a_picture_knows_what_it_was_drawn_from(tmp_path):
    from matplotlib.figure import Figure

    source = tmp_path / "rows.csv"
    source.write_text("a\n1\n")
    picture = pictures.Picture(tmp_path / "a.png", "nothing", Figure, [source])
    assert not picture.is_current()
    picture.write()
    assert picture.is_current()
    source.write_text("a\n2\n")
    assert not picture.is_current()
