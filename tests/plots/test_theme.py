"""One theme, and a look for every method that can be told from the others."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

mpl = pytest.importorskip("matplotlib")

import memcom
from memcom import plots
from memcom.plots.theme import spread


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
