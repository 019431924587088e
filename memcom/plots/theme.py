"""One theme for every figure, and one look for every method.

A method keeps its colour, marker, fill and line style in all figures; its card says the family and
the place in it. Methods of one family (say quotient-remainder, mixed radix, Chinese remainder)
share colour and marker and differ in fill and line style, so no two look alike even in grey.
Colours are seaborn's `colorblind` ten.

Figures are made without pyplot, so none is registered or shown by itself.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from memcom._annotations import checked
from memcom.embeddings import REGISTRY

PALETTE = (
    "#0173b2",  # blue
    "#de8f05",  # orange
    "#029e73",  # green
    "#d55e00",  # vermilion
    "#cc78bc",  # purple
    "#ca9161",  # brown
    "#fbafe4",  # pink
    "#949494",  # grey
    "#ece133",  # yellow
    "#56b4e9",  # sky blue
)
INK = "#262626"
FAINT = "#8a8a8a"

RC: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 9.0,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "figure.titlesize": 12.5,
    "figure.titleweight": "bold",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "image.cmap": "cividis",
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 7.0,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.color": INK,
    "ytick.labelsize": 9.5,
}


@dataclass(frozen=True)
class MethodStyle:
    """Look of a method in all figures.

    Attributes:
        label: Its name in figures.
        color: Line and marker colour.
        marker: matplotlib marker; empty for controls, which are lines only.
        fill: matplotlib fill style of the marker.
        dash: matplotlib line style.
    """

    label: str
    color: str
    marker: str
    fill: str
    dash: Any

    def line(self) -> dict[str, Any]:
        """Keyword arguments for `Axes.plot`: line and markers."""
        return {"color": self.color, "linestyle": self.dash} | self.point()

    def point(self) -> dict[str, Any]:
        """Keyword arguments for the marker alone: a white half keeps half-filled ones readable."""
        return {
            "marker": self.marker,
            "fillstyle": self.fill,
            "markerfacecolor": "white" if self.fill == "none" else self.color,
            "markerfacecoloralt": "white",
            "markeredgecolor": darker(self.color),
            "markeredgewidth": 1.1,
        } | ({"fillstyle": "full"} if self.fill == "none" else {})


def darker(color: str, factor: float = 0.62) -> str:
    """Return the hue with less light, for outlines and text on white."""
    hue, light, strength = colorsys.rgb_to_hls(*mpl.colors.to_rgb(color))
    return mpl.colors.to_hex(colorsys.hls_to_rgb(hue, light * factor, strength))


_FILLS = ("full", "none", "left", "bottom")
_DASHES = ("-", "--", "-.", (0, (1, 1.2)))


# Pink and yellow are left out: too pale on white to tell a filled marker from a hollow one.
_BLUE, _ORANGE, _GREEN, _VERMILION, _PURPLE, _BROWN, _, _GREY, _, _SKY = PALETTE
FAMILIES = {
    "full": (INK, "*"),
    "memcom": (_BLUE, "o"),
    "partitions": (_ORANGE, "s"),
    "binary": (_GREEN, "^"),
    "hashing": (_VERMILION, "D"),
    "factors": (_PURPLE, "v"),
    "truncated": (_BROWN, "P"),
    "widths": (_GREY, "X"),
    "memory": (_SKY, "<"),
    "codes": (_BROWN, ">"),
    "rounding": (_PURPLE, "p"),
    "pruning": (_GREEN, "d"),
    "ragged": (_VERMILION, "8"),
}
"""Colour and marker of each family; a method's card names its family and its place in it."""

CONTROLS = {
    "popular": MethodStyle("most popular", FAINT, "", "none", (0, (1, 1.6))),
    "bias-only": MethodStyle("item bias only", FAINT, "", "none", (0, (5, 2, 1, 2))),
    "ease": MethodStyle("EASE", INK, "", "none", (0, (9, 3))),
    "ials": MethodStyle("iALS", INK, "", "none", (0, (5, 2, 1, 2, 1, 2))),
    "itemknn": MethodStyle("item neighbours", INK, "", "none", (0, (3, 2))),
    "bpr": MethodStyle("BPR", INK, "", "none", (0, (1, 2))),
}
"""Look of the rows that are no compressors: controls in grey, references in black, all dashed."""


@checked
def method_style(name: str) -> MethodStyle:
    """Return the look of a method; one that is not registered gets one from its name.

    Args:
        name: Registry name, control (popular, bias-only), or spec such as ``qr(operation=concat)``,
            which looks like its method and is labelled in full.

    Returns:
        The style.
    """
    base, _, options = name.partition("(")
    if base in CONTROLS:
        known = CONTROLS[base]
    elif base in REGISTRY:
        card = REGISTRY[base].card
        known = _look(card.label, *card.look)
    else:
        return _look(name, base, sum(base.encode()))
    label = f"{known.label} ({options.rstrip(')')})" if options else known.label
    return replace(known, label=label)


def _look(label: str, family: str, index: int) -> MethodStyle:
    color, marker = FAMILIES.get(family, (_BLUE, "hH"[index // 4 % 2]))
    return MethodStyle(label, color, marker, _FILLS[index % 4], _DASHES[index % 4])


def theme() -> None:
    """Apply the kit's look to your own matplotlib figures; the kit's own always have it."""
    mpl.rcParams.update(RC)


@contextmanager
def themed() -> Iterator[None]:
    """Use the kit's theme inside the block, and restore the reader's settings after it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def new_figure(
    width: float = 7.2, height: float = 4.2, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure made without pyplot and its axes in one row; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **options)
    return figure, list(axes[0])


def short_number(value: float, _: Any = None) -> str:
    """Return a number with three digits and a letter: 1234567 is ``"1.23M"``."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def plain_axis(axis: Any, format: Callable[[float, Any], str] = short_number) -> None:
    """Format an axis's ticks, and leave minor ticks unlabelled."""
    axis.set_major_formatter(FuncFormatter(format))
    axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def spread(positions: Sequence[float], gap: float) -> np.ndarray:
    """Return label positions moved apart as little as needed to differ by at least `gap`.

    Runs that touch are centred on their wanted mean; the order of `positions` is kept.
    """
    order = np.argsort(positions, kind="stable")
    blocks: list[list[float]] = []  # wanted position of each block's first label, and its size
    for wanted in np.asarray(positions, dtype=float)[order]:
        blocks.append([wanted, 1])
        while len(blocks) > 1 and blocks[-2][0] + gap * blocks[-2][1] > blocks[-1][0]:
            start, size = blocks.pop()
            first, count = blocks[-1]
            merged = (first * count + (start - gap * count) * size) / (count + size)
            blocks[-1] = [merged, count + size]
    placed = np.concatenate(
        [start + gap * np.arange(size) for start, size in blocks] or [np.zeros(0)]
    )
    result = np.empty(len(placed))
    result[order] = placed
    return result
