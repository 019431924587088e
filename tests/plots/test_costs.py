"""Pictures of bytes and of times: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from memcom import plots
from memcom.plots import speed_against_table
from memcom.plots.costs import mean_ratios
from tests.plots import looks


def test_bytes_are_stacked_by_tensor_and_the_largest_method_is_first():
    methods = {"memcom": {"multiplier": 50, "table": 200}, "full": 4000}
    figure = looks.check_purity(lambda: plots.bytes_by_method(methods))
    looks.check_independence(lambda: plots.bytes_by_method(methods))
    looks.check_room(lambda: plots.bytes_by_method(methods))
    ax = figure.axes[0]
    widths = {
        c.get_label(): (c.patches[0].get_x(), c.patches[0].get_width()) for c in ax.containers
    }
    assert widths == {"full:": (0, 4000), "memcom:table": (0, 200), "memcom:multiplier": (200, 50)}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["full table", "MEmCom"]
    assert "250 B  (16× smaller)  table + multiplier" in looks.texts(figure)
    with pytest.raises(ValueError, match="at least one method"):
        plots.bytes_by_method({})


def row(method, batch, ratio, ids="zipf", baseline="nn.Embedding"):
    low, high = 0.9 * ratio, 1.1 * ratio
    place = {"method": method, "baseline": baseline, "batch": batch, "ids": ids}
    return {**place, "ratio": ratio, "ratio_low": low, "ratio_high": high}


ROWS = [
    row("nn.Embedding", 4096, 1.0),
    row("memcom", 4096, 0.4),
    row("memcom", 4096, 0.9, "uniform"),
    row("memcom", 65536, 0.5),
    row("qr", 65536, 0.3),
]


def test_kinds_of_ids_are_put_together_by_the_geometric_mean():
    ratios = mean_ratios(ROWS)
    assert list(ratios) == [
        ("memcom", "nn.Embedding", 4096),
        ("memcom", "nn.Embedding", 65536),
        ("qr", "nn.Embedding", 65536),
    ]
    first = ratios["memcom", "nn.Embedding", 4096]
    assert first.middle == pytest.approx(0.6)
    assert (first.low, first.high) == pytest.approx((0.36, 0.99))


def test_the_quickest_stands_on_top_and_each_batch_has_a_marker():
    steps = [row("memcom, SGD", 4096, 0.4, baseline="nn.Embedding, sparse SGD")]
    steps += [row("memcom, lazy Adam", 4096, 0.1, baseline="nn.Embedding, SparseAdam")]
    figure = speed_against_table({"lookup": ROWS, "step": steps})
    left, right = figure.axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["qr", "memcom"]
    names = [tick.get_text() for tick in right.get_yticklabels()]
    assert names == ["memcom, lazy Adam / SparseAdam", "memcom, SGD / sparse SGD"]
    drawn_points = {line.get_label(): line for line in left.lines[1:]}
    assert list(drawn_points) == ["4,096", "65,536"]
    assert len({line.get_marker() for line in drawn_points.values()}) == 2
    assert np.sort(drawn_points["65,536"].get_xdata()) == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    ("slowest", "labels"), [(4.0, ["0.5×", "1×", "2×"]), (900.0, ["1×", "10×"])]
)
def test_a_short_axis_is_labelled_between_the_powers_of_ten(slowest, labels):
    figure = speed_against_table({"lookup": [*ROWS, row("slow", 65536, slowest)]})
    figure.canvas.draw()
    axis = figure.axes[0].xaxis
    low, high = axis.get_view_interval()
    shown = [
        label.get_text()
        for place, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
        if low <= place <= high
    ]
    assert set(labels) <= set(shown)
    assert ("0.5×" in shown) == (slowest < 100)


LINES = {"full": [(1e6, 5.0), (1e9, 50.0)], "qr": [(1e5, 4.0)], "qr(8 bits)": [(1e4, 3.0)]}


def test_growth_is_drawn_with_the_ends_of_caches_that_lie_inside():
    panels = [
        plots.Growth("Lookup", "bytes of the table", LINES, {"L2": 2e6, "L3": 1e12}, in_bytes=True),
        plots.Growth("Step", "ids at a time", {"full": [(1, 9e3), (1e6, 9.0)]}, {}),
    ]
    figure = looks.check_purity(lambda: plots.cost_against_growth(panels))
    looks.check_independence(lambda: plots.cost_against_growth(panels))
    looks.check_room(lambda: plots.cost_against_growth(panels))
    left, right = figure.axes
    full, qr, packed, *ends = left.lines
    assert full.get_xydata().tolist() == [[1e6, 5.0], [1e9, 50.0]]
    assert [end.get_xdata()[0] for end in ends] == [2e6]
    assert "L2" in "".join(looks.texts(figure))
    assert "L3" not in "".join(looks.texts(figure))
    marks = {(x.get_marker(), x.get_markerfacecolor() == "white") for x in (full, qr, packed)}
    assert len(marks) == 3  # told apart without colour
    assert len(right.lines) == 1
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["Lookup", "Step"]
    with pytest.raises(ValueError, match="Empty has no method"):
        plots.cost_against_growth([plots.Growth("Empty", "ids", {}, {})])


def test_a_panel_of_baselines_alone_is_refused():
    with pytest.raises(ValueError, match="lookup has no method"):
        speed_against_table({"lookup": ROWS[:1]})
