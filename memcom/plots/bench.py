"""The picture of a benchmark run: time as a multiple of nn.Embedding's, method by method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from memcom.plots.theme import INK, PALETTE, darker, new_figure, plain_axis, themed


class Ratio(NamedTuple):
    """A method's time over its baseline's, over all kinds of ids.

    Attributes:
        middle: Geometric mean of the medians.
        low: Lowest end of their intervals.
        high: Highest end.
    """

    middle: float
    low: float
    high: float


def mean_ratios(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, int], Ratio]:
    """Put the kinds of ids of a benchmark run together.

    Args:
        rows: Of one phase, size and number of threads; with ``method``, ``baseline``, ``batch``,
            ``ratio``, ``ratio_low`` and ``ratio_high``.

    Returns:
        A ratio for each method, baseline and batch, in order of appearance; no baselines.
    """
    found: dict[tuple[str, str, int], list[tuple[float, ...]]] = {}
    for row in rows:
        if row["method"] != row["baseline"]:
            key = str(row["method"]), str(row["baseline"]), int(row["batch"])
            three = tuple(float(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
            found.setdefault(key, []).append(three)
    result = {}
    for key, several in found.items():
        middles, lows, highs = zip(*several, strict=True)
        middle = float(np.exp(np.mean(np.log(middles))))
        result[key] = Ratio(middle, min(lows), max(highs))
    return result


def speed_against_table(panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Ratios of time to a full table's as points with intervals, a panel for each kind of work.

    Args:
        panels: Rows of a benchmark run, as for `mean_ratios`, by the title of the panel.

    Returns:
        The figure: a line for each method, a marker for each batch, the baseline a vertical line.

    Raises:
        ValueError: If a panel has no method besides its baselines.
    """
    counted = {title: mean_ratios(rows) for title, rows in panels.items()}
    for title, ratios in counted.items():
        if not ratios:
            raise ValueError(f"{title} has no method to be compared with its baseline")
    lines = max(len({key[:2] for key in ratios}) for ratios in counted.values())
    with themed():
        figure, axes = new_figure(5.6 * len(panels), 1.6 + 0.32 * lines, len(panels))
        for ax, (title, ratios) in zip(axes, counted.items(), strict=True):
            _panel(ax, ratios)
            ax.set_title(title)
        handles, labels = axes[0].get_legend_handles_labels()
        labels = [f"{label} ids at a time" for label in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _panel(ax: Axes, ratios: Mapping[tuple[str, str, int], Ratio]) -> None:
    methods = list(dict.fromkeys(key[:2] for key in ratios))
    batches = sorted({key[2] for key in ratios})
    largest = batches[-1]
    methods.sort(key=lambda m: ratios[(*m, largest)].middle)
    one_baseline = len({baseline for _, baseline in methods}) == 1
    ax.axvline(1, color=INK, lw=1.2, zorder=1)
    for k, batch in enumerate(batches):
        color = PALETTE[(0, 3, 2)[k % 3]]
        shift = 0.26 * (k - (len(batches) - 1) / 2)
        drawn = [
            (y + shift, ratios[(*m, batch)]) for y, m in enumerate(methods) if (*m, batch) in ratios
        ]
        y, (middle, low, high) = [place for place, _ in drawn], np.array([r for _, r in drawn]).T
        ax.hlines(y, low, high, color=color, lw=1.3, zorder=2)
        ax.plot(
            middle, y, ls="", marker="so^"[k % 3], ms=6, color=color, zorder=3,
            mfc=("white", color)[k % 2], mec=darker(color), label=f"{batch:,}",
        )  # fmt: skip
    names = [
        method if one_baseline else f"{method} / {baseline.split(', ')[-1]}"
        for method, baseline in methods
    ]
    ax.set_yticks(range(len(methods)), names)
    ax.set(xscale="log", ylim=(len(methods) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    plain_axis(ax.xaxis, lambda x, _: f"{x:g}×")
    ax.set_xlabel("times nn.Embedding's (log scale)")
