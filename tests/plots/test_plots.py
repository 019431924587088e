"""memcom.plots: what is drawn equals what was given; nothing leaks; every method is told apart."""

from __future__ import annotations

import base64
import re
from itertools import combinations

import numpy as np
import pytest

mpl = pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import memcom
from memcom import plots
from memcom.plots.theme import spread

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
    "bytes": lambda: plots.bytes_by_method({"full": 4000, "memcom": {"table": 200, "m": 50}}),
}


def texts(figure):
    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_pure(name):
    before = dict(mpl.rcParams)
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before
    assert plots.to_png(figure).startswith(b"\x89PNG")
    assert plt.get_fignums() == []
    axes = figure.axes[0]
    assert axes.get_title(loc="left") or figure.get_suptitle()
    if name != "bytes":
        assert axes.get_xlabel()
        assert axes.get_ylabel()


@pytest.mark.parametrize("name", FIGURES)
def test_figures_look_the_same_whatever_the_reader_has_set(name):
    plain = plots.to_png(FIGURES[name](), 40)
    with mpl.rc_context({"font.size": 25, "axes.grid": False, "lines.linewidth": 9}):
        assert plots.to_png(FIGURES[name](), 40) == plain


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_sticks_out_of_the_figure(name):
    figure = FIGURES[name]()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    visible = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text()]
    ticks = {id(t) for ax in figure.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())}
    for text in visible:
        if id(text) in ticks:
            continue  # matplotlib keeps invisible ones beyond the limits
        box = text.get_window_extent(renderer)
        assert box.x0 > -2, text
        assert box.x1 < width + 2, text
        assert box.y0 > -2, text
        assert box.y1 < height + 2, text


# --- what is drawn is what was given ----------------------------------------------------------


def test_quality_figure_draws_points_intervals_and_controls():
    ax = plots.quality_against_ratio(ROWS).axes[0]
    bars = {c.get_label(): c for c in ax.containers}
    assert set(bars) == {"memcom", "qr", "mine"}
    line, _, (segments,) = bars["memcom"].lines
    assert line.get_xdata().tolist() == [3.9, 16.2]
    assert np.allclose(line.get_ydata(), [0.2941, 0.2818])
    ends = np.array([s[:, 1] for s in segments.get_segments()])
    assert np.allclose(ends, [[0.2901, 0.2961], [0.2778, 0.2838]])
    across = {line.get_label(): line.get_ydata()[0] for line in ax.lines}
    assert (across["full"], across["popular"]) == (0.30, 0.18)
    named = {t.get_text(): t.get_position()[1] for t in ax.texts}
    assert set(named) == {"full table", "most popular", "MEmCom", "quotient–remainder", "mine"}
    low, high = ax.get_ylim()
    assert np.diff(sorted(named.values())).min() > 0.03  # of the height: text does not overlap
    assert named["most popular"] == pytest.approx((0.18 - low) / (high - low), abs=0.01)
    with pytest.raises(ValueError, match="besides the controls"):
        plots.quality_against_ratio(ROWS[:2])


def test_quality_draws_what_has_no_ratio_across():
    rows = [*ROWS, {"method": "prior", "ndcg_at_10": 0.2}]
    ax = plots.quality_against_ratio(rows).axes[0]
    (line,) = (each for each in ax.lines if each.get_label() == "prior")
    assert list(line.get_ydata()) == [0.2, 0.2]


def test_points_of_papers_are_hollow_and_joined_by_nothing():
    published = [{"method": "memcom", "compression_ratio": 40, "ndcg_at_10": 0.288}]
    ax = plots.quality_against_ratio(ROWS, published=published).axes[0]
    (drawn,) = (each for each in ax.lines if "published" in str(each.get_label()))
    assert drawn.get_xydata().tolist() == [[40, 0.288]]
    assert (drawn.get_markerfacecolor(), drawn.get_linestyle()) == ("none", "None")
    assert ax.get_xlim()[1] > 40
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["MEmCom, as published"]


def test_losses_have_a_panel_for_each_data_set_and_one_scale():
    low = [
        {**row, "loss_low": row["loss"] - 0.05, "loss_high": row["loss"] + 0.01} for row in LOSSES
    ]
    figure = plots.loss_by_data({"one": LOSSES, "two": low}, published={"two": LOSSES[:1]})
    drawn = [[str(line.get_label()) for line in ax.lines] for ax in figure.axes]
    assert ["MEmCom, as published" in labels for labels in drawn] == [False, True]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["one", "two"]
    for ax in figure.axes:
        line = ax.containers[0].lines[0]
        assert line.get_xdata().tolist() == [4, 16]
        assert line.get_ydata().tolist() == pytest.approx([0.8, 3.2])
    (bars,) = figure.axes[1].containers[0].lines[2]
    assert np.allclose(bars.get_segments()[0][:, 1], [0.8 - 5, 0.8 + 1])
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    lost = plots.loss_by_data({"one": [{**LOSSES[0], "loss": 0.9}, LOSSES[1]]})
    assert lost.axes[0].get_ylim()[1] == 45
    with pytest.raises(ValueError, match="every panel"):
        plots.loss_by_data({"one": []})


def test_loss_by_data_puts_its_legend_into_free_room():
    full, spare = (plots.loss_by_data(dict.fromkeys("abcd", LOSSES), columns=n) for n in (2, 3))
    assert len(full.legends) == 1
    assert spare.legends == []
    assert [ax.get_legend() is not None for ax in spare.axes] == [False] * 4 + [True, False]
    assert not any(ax.axison for ax in spare.axes[4:])


def test_quality_figure_promises_no_intervals_that_are_not_there():
    rows = [{"method": "qr", "compression_ratio": 4, "recall": 0.2}]
    figure = plots.quality_against_ratio(rows, quality="recall", label="Recall@20")
    assert "Recall@20 against compression" in texts(figure)


def test_bytes_figure_stacks_tensors_largest_method_first():
    figure = plots.bytes_by_method({"memcom": {"multiplier": 50, "table": 200}, "full": 4000})
    ax = figure.axes[0]
    widths = {
        c.get_label(): (c.patches[0].get_x(), c.patches[0].get_width()) for c in ax.containers
    }
    assert widths == {"full:": (0, 4000), "memcom:table": (0, 200), "memcom:multiplier": (200, 50)}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["full table", "MEmCom"]
    assert "250 B  (16× smaller)  table + multiplier" in texts(figure)
    with pytest.raises(ValueError, match="at least one method"):
        plots.bytes_by_method({})


# --- style ------------------------------------------------------------------------------------


def grey(color):
    """Perceived lightness (CIE L*, 0 to 100)."""
    rgb = np.array(mpl.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(y) - 16 if y > 0.008856 else 903.3 * y


def test_every_layer_has_a_look_of_its_own():
    looks = {name: plots.method_style(name) for name in [*memcom.available(), *plots.CONTROLS]}
    for (a, one), (b, two) in combinations(looks.items(), 2):
        if not one.marker and not two.marker:
            assert one.dash != two.dash, (a, b)
            continue
        assert one.label != two.label
        shape_differs = (one.marker, one.fill) != (two.marker, two.fill)
        assert shape_differs, (a, b)
        if one.marker == two.marker:  # then the line says it too
            assert one.dash != two.dash, (a, b)


def test_main_methods_are_told_apart_in_grey():
    """Different marker shapes; where a fill is the only difference, its grey differs clearly."""
    for a, b in combinations(memcom.available(), 2):
        one, two = plots.method_style(a), plots.method_style(b)
        if one.marker == two.marker:
            fills = [grey(s.point()["markerfacecolor"]) for s in (one, two)]
            halves = {one.fill, two.fill} & {"left", "bottom"}
            assert abs(fills[0] - fills[1]) > 25 or halves, (a, b)


def test_markers_stand_out_from_white():
    for name in memcom.available():
        edge = plots.method_style(name).point()["markeredgecolor"]
        assert 100 - grey(edge) > 30, name


def test_palette_is_seaborns_colorblind():
    seaborn = pytest.importorskip("seaborn")
    assert list(plots.PALETTE) == seaborn.color_palette("colorblind").as_hex()


def test_a_method_looks_the_same_everywhere():
    spec, plain = plots.method_style("qr(operation=concat)"), plots.method_style("qr")
    assert (spec.color, spec.marker) == (plain.color, plain.marker)
    assert spec.label == "quotient–remainder (operation=concat)"
    assert plots.method_style("mine") == plots.method_style("mine")
    assert plots.method_style("mine").label == "mine"


def test_theme_gives_a_readers_figures_the_look():
    with mpl.rc_context():
        plots.theme()
        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        assert tuple(cycle) == plots.PALETTE
        assert mpl.rcParams["axes.grid"]


def test_spread_moves_labels_apart_and_no_further():
    assert spread([1.0, 5.0, 3.0], 1.0).tolist() == [1.0, 5.0, 3.0]
    assert spread([2.0, 2.0], 1.0).tolist() == [1.5, 2.5]
    assert spread([], 1.0).tolist() == []
    wanted = np.random.default_rng(0).uniform(0, 3, 12)
    placed = spread(wanted, 0.5)
    assert (np.diff(placed[np.argsort(wanted)]) > 0.5 - 1e-9).all()
    assert placed.mean() == pytest.approx(wanted.mean(), abs=0.3)


# --- display ----------------------------------------------------------------------------------


def test_show_emits_a_described_self_contained_image(monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(display, "display", lambda bundle, raw: shown.append((bundle, raw)))
    plots.show(FIGURES["bytes"](), alt='MEmCom stores "250 B" & no more')
    ((bundle, raw),) = shown
    assert raw
    assert set(bundle) == {"text/html", "text/plain"}
    assert 'alt="MEmCom stores &quot;250 B&quot; &amp; no more"' in bundle["text/html"]
    data = re.search(r"data:image/png;base64,([^\"]+)", bundle["text/html"])[1]
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert "250 B" in bundle["text/plain"]


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_show_refuses_an_undescribed_picture(alt):
    with pytest.raises(ValueError, match="alt must say"):
        plots.show(FIGURES["bytes"](), alt=alt)
    with pytest.raises(TypeError):
        plots.show(FIGURES["bytes"]())
