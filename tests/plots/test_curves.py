"""Curves over the compression ratio: what is drawn is what was given."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from memcom import plots
from tests.plots import looks

ROWS = [
    {"method": "full", "ndcg_at_10": 0.30, "ndcg_at_10_low": 0.29, "ndcg_at_10_high": 0.31},
    {"method": "popular", "ndcg_at_10": 0.18},
    *(
        {
            "method": method,
            "compression_ratio": ratio,
            "ndcg_at_10": best - 0.001 * ratio,
            "ndcg_at_10_low": best - 0.001 * ratio - 0.004,
            "ndcg_at_10_high": best - 0.001 * ratio + 0.002,
        }
        for method, best in (("memcom", 0.298), ("qr", 0.3), ("mine", 0.25))
        for ratio in (16.2, 3.9)
    ),
]

LOSSES = [
    {"method": method, "compression_ratio": ratio, "loss": loss * ratio}
    for method, loss in (("memcom", 0.002), ("qr", 0.003))
    for ratio in (16, 4)
]

FIGURES = {
    "quality": lambda: plots.quality_against_ratio(ROWS),
    "loss by data": lambda: plots.loss_by_data(
        {"one": LOSSES, "two": LOSSES}, published={"one": LOSSES[:1]}
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_pure_and_has_room_for_its_text(name):
    figure = looks.check_purity(FIGURES[name])
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in figure.axes[:1])
    looks.check_independence(FIGURES[name])
    looks.check_room(FIGURES[name])


def band_of(ax, place):
    """The lower and upper edge of a band, by x."""
    (path,) = ax.collections[place].get_paths()
    edges = {}
    for x, y in path.vertices:
        edges.setdefault(float(x), set()).add(round(float(y), 9))
    return {x: (min(ys), max(ys)) for x, ys in edges.items()}


def test_quality_draws_points_bands_and_controls():
    ax = plots.quality_against_ratio(ROWS).axes[0]
    lines = {line.get_label(): line for line in ax.lines if line.get_label() != "_leader"}
    assert list(lines) == ["full table", "most popular", "MEmCom", "quotient–remainder", "mine"]
    assert lines["MEmCom"].get_xdata().tolist() == [3.9, 16.2]
    assert np.allclose(lines["MEmCom"].get_ydata(), [0.2941, 0.2818])
    assert band_of(ax, 0) == {3.9: (0.2901, 0.2961), 16.2: (0.2778, 0.2838)}
    assert lines["full table"].get_ydata()[0] == 0.30
    assert lines["most popular"].get_ydata()[0] == 0.18
    with pytest.raises(ValueError, match="besides the controls"):
        plots.quality_against_ratio(ROWS[:2])


def test_every_line_is_labelled_and_labels_do_not_overlap():
    ax = plots.quality_against_ratio(ROWS).axes[0]
    named = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert set(named) == {"full table", "most popular", "MEmCom", "quotient–remainder", "mine"}
    low, high = ax.get_ylim()
    assert np.diff(sorted(named.values())).min() > 0.03  # of the height
    assert named["most popular"] == pytest.approx((0.18 - low) / (high - low), abs=0.01)


def test_a_line_that_ends_early_is_labelled_at_its_end():
    rows = [*ROWS, {"method": "crt", "compression_ratio": 2, "ndcg_at_10": 0.27}]
    ax = plots.quality_against_ratio(rows).axes[0]
    (label,) = (text for text in ax.texts if text.get_text() == "Chinese remainder")
    assert label.xy == (2, 0.27)


def test_a_row_without_a_ratio_is_drawn_across():
    for missing in ({}, {"compression_ratio": math.nan}):
        rows = [*ROWS, {"method": "prior", "ndcg_at_10": 0.2} | missing]
        ax = plots.quality_against_ratio(rows).axes[0]
        (line,) = (each for each in ax.lines if each.get_label() == "prior")
        assert list(line.get_ydata()) == [0.2, 0.2]


def test_bytes_stand_below_the_ratios_if_they_are_known():
    ax = plots.quality_against_ratio([ROWS[0] | {"nbytes": 64_000}, *ROWS[1:]]).axes[0]
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["4×\n16 kB", "8×\n8 kB", "16×\n4 kB"]


def test_points_of_papers_are_hollow_and_joined_by_nothing():
    published = [{"method": "memcom", "compression_ratio": 40, "ndcg_at_10": 0.288}]
    ax = plots.quality_against_ratio(ROWS, published=published).axes[0]
    (drawn,) = (each for each in ax.lines if "published" in str(each.get_label()))
    assert drawn.get_xydata().tolist() == [[40, 0.288]]
    assert (drawn.get_markerfacecolor(), drawn.get_linestyle()) == ("none", "None")
    assert ax.get_xlim()[1] > 40
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["MEmCom, as published"]


def test_the_title_names_the_quality_unless_there_is_another():
    rows = [{"method": "qr", "compression_ratio": 4, "recall": 0.2}]
    figure = plots.quality_against_ratio(rows, quality="recall", label="Recall@20")
    assert "Recall@20 against compression" in looks.texts(figure)
    figure = plots.quality_against_ratio(rows, quality="recall", title="Mine")
    assert "Mine" in looks.texts(figure)


def test_losses_have_a_panel_for_each_data_set_and_one_scale():
    low = [
        {**row, "loss_low": row["loss"] - 0.05, "loss_high": row["loss"] + 0.01} for row in LOSSES
    ]
    figure = plots.loss_by_data({"one": LOSSES, "two": low}, published={"two": LOSSES[:1]})
    drawn = [{line.get_label(): line for line in ax.lines} for ax in figure.axes]
    assert ["MEmCom, as published" in lines for lines in drawn] == [False, True]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["one", "two"]
    for lines in drawn:
        assert lines["MEmCom"].get_xdata().tolist() == [4, 16]
        assert lines["MEmCom"].get_ydata().tolist() == pytest.approx([0.8, 3.2])
    assert band_of(figure.axes[1], 0)[4] == pytest.approx((0.8 - 5, 0.8 + 1))
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    lost = plots.loss_by_data({"one": [{**LOSSES[0], "loss": 0.9}, LOSSES[1]]})
    assert lost.axes[0].get_ylim()[1] == 45
    with pytest.raises(ValueError, match="every panel"):
        plots.loss_by_data({"one": []})


def test_a_single_point_has_a_bar():
    row = {"method": "qr", "compression_ratio": 32, "loss": 0.1, "loss_low": 0.05, "loss_high": 0.2}
    (ax,) = plots.loss_by_data({"one": [row]}).axes
    (segment,) = ax.collections[0].get_segments()
    assert segment[:, 1] == pytest.approx([5, 20])


def test_loss_by_data_puts_its_legend_into_free_room():
    full, spare = (plots.loss_by_data(dict.fromkeys("abcd", LOSSES), columns=n) for n in (2, 3))
    assert len(full.legends) == 1
    assert spare.legends == []
    assert [ax.get_legend() is not None for ax in spare.axes] == [False] * 4 + [True, False]
    assert not any(ax.axison for ax in spare.axes[4:])


def test_references_are_dashed_lines_across_that_differ_without_colour():
    names = ("ease", "ials", "itemknn", "bpr")
    rows = [{"method": name, "ndcg_at_10": 0.3 + 0.01 * i} for i, name in enumerate(names)]
    ax = plots.quality_against_ratio([*ROWS, *rows]).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    drawn = [lines[plots.method_style(name).label] for name in names]
    assert [line.get_ydata()[0] for line in drawn] == [row["ndcg_at_10"] for row in rows]
    dashes = [line._unscaled_dash_pattern[1] for line in drawn]
    assert all(dashes)
    assert len({tuple(each) for each in dashes}) == len(names)


def test_front_of_bytes_is_a_staircase_through_the_best() -> None:
    rows = [
        {"method": "qr", "nbytes": 100, "score": 0.2},
        {"method": "hash", "nbytes": 200, "score": 0.1},
        {"method": "full", "nbytes": 1000, "score": 0.3},
        {"method": "popular", "nbytes": 0, "score": 0.05},
    ]
    figure = plots.quality_against_bytes(rows, quality="score", label="score")
    (ax,) = figure.axes
    front = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert [tuple(point) for point in front[0].get_xydata()] == [(100, 0.2), (1000, 0.3)]
    with pytest.raises(ValueError, match="nbytes > 0"):
        plots.quality_against_bytes(rows[-1:], quality="score")
