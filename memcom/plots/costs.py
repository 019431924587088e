"""Pictures of costs: the bytes that tables store, and their times over nn.Embedding's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from memcom._annotations import checked
from memcom._text import in_bytes
from memcom.plots.theme import (
    FAINT,
    INK,
    PALETTE,
    darker,
    method_style,
    new_figure,
    plain_axis,
    short_number,
    themed,
)

Lines = Mapping[str, Sequence[tuple[float, float]]]

_HATCHES = ("", "////", "....", "\\\\\\\\", "xxx", "---")


@checked
def bytes_by_method(methods: Mapping[str, int | Mapping[str, int]]) -> Figure:
    """Plot the stored bytes of each method as bars, split by tensor where that is known.

    Args:
        methods: By method name: bytes, or bytes by tensor (from `nbytes_by_tensor`).

    Returns:
        The figure, largest on top, each bar labelled with its bytes and its ratio to the largest.

    Raises:
        ValueError: If there are no methods.
    """
    if not methods:
        raise ValueError("methods must hold at least one method")
    parts = {m: dict(b) if isinstance(b, Mapping) else {"": b} for m, b in methods.items()}
    order = sorted(parts, key=lambda m: -sum(parts[m].values()))
    largest = sum(parts[order[0]].values())
    with themed():
        figure, (ax,) = new_figure(7.6, 1.1 + 0.42 * len(order))
        for y, name in enumerate(order):
            color, left = method_style(name).color, 0
            tensors = sorted(parts[name].items(), key=lambda item: -item[1])
            for k, (tensor, nbytes) in enumerate(tensors):
                ax.barh(
                    y, nbytes, 0.66, left=left, color=color, hatch=_HATCHES[k % len(_HATCHES)],
                    edgecolor="white", linewidth=0.6, label=f"{name}:{tensor}",
                )  # fmt: skip
                left += nbytes
            text = in_bytes(left)
            if left < largest:
                text += f"  ({largest / left:.3g}× smaller)"
            if len(tensors) > 1:
                text += "  " + " + ".join(tensor for tensor, _ in tensors[:3])
                text += " + …" if len(tensors) > 3 else ""
            if left > 0.75 * largest:  # no room beside it
                box = {"boxstyle": "round,pad=0.2", "fc": color, "ec": "none"}
                look: dict[str, Any] = {"ha": "right", "color": "white", "bbox": box}
                place = left - 0.01 * largest
            else:
                look, place = {}, left + 0.01 * largest
            ax.text(place, y, text, va="center", fontsize=9.5, **look)
        ax.set_yticks(range(len(order)), [method_style(m).label for m in order])
        ax.set(ylim=(len(order) - 0.5, -0.5), xlabel="stored bytes")
        ax.tick_params(axis="y", length=0)
        plain_axis(ax.xaxis, lambda x, _: in_bytes(x))
        ax.grid(axis="y", visible=False)
        ax.set_title("What each table stores")
    return figure


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
    """Average the rows of a benchmark over the kinds of ids.

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
        result[key] = Ratio(float(np.exp(np.log(middles).mean())), min(lows), max(highs))
    return result


def speed_against_table(panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Plot times over a full table's as points with intervals, a panel for each kind of work.

    Args:
        panels: Rows of a benchmark run, as for `mean_ratios`, by the title of the panel.

    Returns:
        The figure: a line for each method, a marker for each batch, the baseline a vertical line.

    Raises:
        ValueError: If a panel has no method besides its baselines.
    """
    found = {title: mean_ratios(rows) for title, rows in panels.items()}
    for title, ratios in found.items():
        if not ratios:
            raise ValueError(f"{title} has no method to be compared with its baseline")
    lines = [1 + len({key[:2] for key in ratios}) for ratios in found.values()]
    with themed():
        size = 7.4, 0.5 + 0.6 * len(lines) + 0.28 * sum(lines)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(lines), 1, squeeze=False, height_ratios=lines)[:, 0]
        for ax, (title, ratios) in zip(axes, found.items(), strict=True):
            _speed_panel(ax, ratios)
            ax.set_title(title)
        handles, labels = axes[0].get_legend_handles_labels()
        labels = [f"{label} ids at a time" for label in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _speed_panel(ax: Axes, ratios: Mapping[tuple[str, str, int], Ratio]) -> None:
    methods = list(dict.fromkeys(key[:2] for key in ratios))
    batches = sorted({key[2] for key in ratios})
    methods.sort(key=lambda m: ratios[(*m, batches[-1])].middle)
    ax.axvline(1, color=INK, lw=1.2, zorder=1)
    for k, batch in enumerate(batches):
        color = PALETTE[(0, 3, 2)[k % 3]]
        shift = 0.26 * (k - (len(batches) - 1) / 2)
        drawn = [
            (y + shift, *ratios[(*m, batch)])
            for y, m in enumerate(methods)
            if (*m, batch) in ratios
        ]
        y, middle, low, high = np.array(drawn).T
        ax.hlines(y, low, high, color=color, lw=1.3, zorder=2)
        ax.plot(
            middle, y, ls="", marker="so^"[k % 3], ms=6, color=color, zorder=3,
            mfc=("white", color)[k % 2], mec=darker(color), label=f"{batch:,}",
        )  # fmt: skip
    one_baseline = len({baseline for _, baseline in methods}) == 1
    names = [
        method if one_baseline else f"{method} / {baseline.split(', ')[-1]}"
        for method, baseline in methods
    ]
    ax.set_yticks(range(len(methods)), names)
    ax.set(xscale="log", ylim=(len(methods) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    _label_decades(ax.xaxis)
    plain_axis(ax.xaxis, lambda x, _: f"{x:g}×")
    ax.set_xlabel("times nn.Embedding's (log scale)")


def _label_decades(axis: Axis) -> None:
    """Label the powers of ten of a log axis; on a short one, 2 and 5 of each as well."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))


class Growth(NamedTuple):
    """A panel of `cost_against_growth`.

    Attributes:
        title: Its title.
        xlabel: What grows.
        lines: Points ``(x, nanoseconds an id)`` by method, in ascending order; a method may carry
            options, such as ``qr(8 bits)``.
        ends: Where on the axis caches end, by name.
        in_bytes: Whether x is bytes.
    """

    title: str
    xlabel: str
    lines: Lines
    ends: Mapping[str, float]
    in_bytes: bool = False


def cost_against_growth(panels: Sequence[Growth]) -> Figure:
    """Plot the time of one id against the size of the table or of the batch, two panels a row.

    Args:
        panels: The panels, row by row.

    Returns:
        The figure: a line for each method, told apart by its marker too, and a labelled
        upright line where each cache ends.

    Raises:
        ValueError: If a panel has no line.
    """
    for panel in panels:
        if not panel.lines:
            raise ValueError(f"{panel.title} has no method")
    with themed():
        figure = Figure(figsize=(8.6, 0.5 + 3.1 * ((len(panels) + 1) // 2)), layout="constrained")
        axes = figure.subplots((len(panels) + 1) // 2, 2, squeeze=False).flat
        for ax, panel in zip(axes, panels, strict=False):
            _growth_panel(ax, panel)
        for ax in list(axes)[len(panels) :]:
            ax.remove()
        named = {
            label: handle
            for ax in figure.axes
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        figure.legend(named.values(), named, loc="outside lower center", ncols=len(named))
    return figure


def _growth_panel(ax: Axes, panel: Growth) -> None:
    for name, points in panel.lines.items():
        style = method_style(name)
        if "(" in name:  # beside the same method without options
            style = replace(style, fill="none", dash=":")
        x, y = np.array(points, dtype=float).T
        ax.plot(x, y, label=style.label, zorder=3, **style.line())
    ax.set(xscale="log", yscale="log", title=panel.title)
    ax.set_xlabel(f"{panel.xlabel} (log scale)")
    ax.set_ylabel("ns an id (log scale)")
    plain_axis(ax.xaxis, (lambda x, _: in_bytes(x)) if panel.in_bytes else short_number)
    _label_decades(ax.yaxis)
    plain_axis(ax.yaxis)
    left, right = ax.get_xlim()
    for name, end in panel.ends.items():
        if left < end < right:
            ax.axvline(end, color=FAINT, lw=1.1, ls=(0, (5, 2)), zorder=1)
            ax.text(
                end, 0.98, f" {name}", transform=ax.get_xaxis_transform(), ha="left", va="top",
                fontsize=9, color=INK,
            )  # fmt: skip
