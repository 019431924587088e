"""Who stands where at a budget, and what goes with the loss: the points are those of the rows."""

from __future__ import annotations

import math

import pytest

from memcom import plots
from memcom.plots.standing import at_budget


def row(method, ratio, loss, **more):
    return {
        **{"method": method, "ratio": ratio, "nbytes": 1000, "metric": "ndcg"},
        **{"loss": loss, "loss_low": loss - 0.01, "loss_high": loss + 0.02, **more},
    }


FULL = {"method": "full", "ratio": math.nan, "nbytes": 9000, "value": 0.5}
TABLES = {
    "one": [
        FULL,
        row("hash", 4, 0.03),
        row("hash", 16, 0.09, abundance=5.0),
        row("memcom", 16, 0.05, abundance=9.0),
        row("qr", 16, math.nan),
    ],
    "none": [FULL],
}


@pytest.mark.parametrize(
    ("asked", "found"), [(4, [4]), (1, [4]), (7.9, [4]), (8.1, [16, 16, 16]), (99, [16, 16, 16])]
)
def test_the_nearest_ratio_is_taken(asked, found):
    assert [each["ratio"] for each in at_budget(TABLES, "one", asked)] == found


def test_a_table_without_ratios_has_nothing_at_a_budget():
    assert at_budget(TABLES, "none", 16) == []
    assert plots.describe_standing(TABLES, "none") == "none: no loss was measured."
    (ax,) = plots.standing(TABLES, "none").axes
    assert ax.get_title(loc="left") + ax.get_title() == "none: not measured"


def test_no_such_table():
    with pytest.raises(ValueError, match="one of one, none, got 'two'"):
        at_budget(TABLES, "two", 16)


def test_the_best_is_on_top_and_unmeasured_ones_are_left_out():
    (ax,) = plots.standing(TABLES, "one").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["MEmCom", "hashing trick"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # place 0 is on top
    points = [line for line in ax.get_lines() if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in points] == pytest.approx([5, 9])
    spans = [line for line in ax.get_lines() if list(line.get_ydata()) in ([0, 0], [1, 1])]
    assert [list(line.get_xdata()) for line in spans] == [
        pytest.approx([4, 7]),
        pytest.approx([8, 11]),
    ]


def test_words_say_what_the_picture_shows():
    text = plots.describe_standing(TABLES, "one")
    assert text.startswith("one at 16×, loss against the full table, %: memcom 5 (4 to 7)")
    assert "hash 9 (8 to 11), 1,000 bytes." in text


def test_large_numbers_are_written_out():
    rows = {"big": [FULL, row("hash", 16, 0.1) | {"nbytes": 1_178_440}]}
    assert plots.describe_standing(rows, "big", "nbytes") == "big at 16×, bytes: hash 1,178,440."
    figure = plots.standing(rows, "big", "nbytes")
    figure.canvas.draw()
    (ax,) = figure.axes
    written = [label.get_text() for label in ax.get_xticklabels()]
    assert "1,000,000" in written
    assert not ax.xaxis.get_offset_text().get_text()


def test_losses_are_joined_from_left_to_right():
    rows = [
        {"method": "hash", "loss": 0.4, "share": 0.6},
        {"method": "hash", "loss": 0.1, "share": 0.2},
        {"method": "memcom", "loss": 0.3, "share": 0.5},
    ]
    (ax,) = plots.loss_against(rows, "share", "a share").axes
    first, second = (line for line in ax.get_lines() if not line.get_label().startswith("_"))
    assert list(first.get_xdata()) == [0.2, 0.6]
    assert list(first.get_ydata()) == pytest.approx([10, 40])
    assert list(second.get_ydata()) == pytest.approx([30])
    assert ax.get_xlabel() == "a share"
    with pytest.raises(ValueError, match="at least one row"):
        plots.loss_against([], "share", "a share")


def test_many_methods_have_room():
    rows = [row(f"mine{i}", 16, i / 100) for i in range(40)]
    few, many = (plots.standing({"one": rows[:n]}, "one").axes[0] for n in (10, 40))
    for ax in (few, many):
        ax.figure.canvas.draw()
    heights = [
        abs(ax.transData.transform((0, 1))[1] - ax.transData.transform((0, 0))[1])
        for ax in (few, many)
    ]
    assert min(heights) > 0.14 * ax.figure.dpi  # inches a row; a line of text takes 0.13
