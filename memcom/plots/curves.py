"""Pictures of sweeps: quality, or the loss of it, against the compression ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, inf, isnan
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from memcom._text import in_bytes
from memcom.plots.theme import (
    CONTROLS,
    FAINT,
    INK,
    MethodStyle,
    darker,
    method_style,
    new_figure,
    plain_axis,
    spread,
    themed,
)

_ACROSS = ("full", *CONTROLS)
_FONT = 10

Rows = Sequence[Mapping[str, Any]]


class _End(NamedTuple):
    """End of a line, where its label stands; x is infinite for a line across."""

    x: float
    y: float
    style: MethodStyle


def quality_against_ratio(
    rows: Rows,
    *,
    quality: str = "ndcg_at_10",
    label: str = "nDCG@10",
    title: str = "",
    published: Rows = (),
) -> Figure:
    """Plot the quality of each method against the compression ratio of its stored bytes.

    Args:
        rows: One mapping per point with ``method``, ``compression_ratio``, the `quality` field and,
            where known, its 95 % interval ``{quality}_low``, ``{quality}_high``, drawn as a band.
            The full table, the controls and what has no ratio become lines across. If the full
            table's row has ``nbytes``, the axis shows bytes too. Fields may be missing or NaN.
        quality: Name of the quality field.
        label: What to call it.
        title: Title of the picture.
        published: Points of papers, with ``method``, ``compression_ratio`` and the `quality` field,
            measured elsewhere and scaled to this full table; drawn as large hollow markers.

    Returns:
        The figure; every line is labelled at its end.

    Raises:
        ValueError: If there is no row that is not a control.
    """
    methods = _by_method(rows)
    across = [
        m for m, r in methods.items() if m in _ACROSS or not _known(r[0], "compression_ratio")
    ]
    curves = {m: r for m, r in methods.items() if m not in across}
    if not curves:
        raise ValueError("rows must hold at least one method besides the controls")
    with themed():
        figure, (ax,) = new_figure(7.2, 4.5)
        ends = [_line_across(ax, name, methods[name][0], quality) for name in across]
        ends += [draw_curve(ax, name, points, quality) for name, points in curves.items()]
        for name, points in _by_method(published).items():
            draw_published(ax, name, points, quality)
        _ratio_axis(ax, [*published, *(row for points in curves.values() for row in points)])
        full = _known(methods.get("full", [{}])[0], "nbytes")
        if full:
            ticks = ax.get_xticks()
            ax.set_xticks(ticks, [f"{tick:g}×\n{in_bytes(full / tick)}" for tick in ticks])
        ax.set_xlabel("compression ratio of the embedding table (bytes, log scale)")
        ax.set_ylabel(label)
        ax.set_title(title or f"{label} against compression")
        _label_ends(figure, ax, ends)
        if published:
            names = ax.get_legend_handles_labels()
            known = [pair for pair in zip(*names, strict=True) if "published" in str(pair[1])]
            ax.legend(*zip(*known, strict=True), loc="lower left")
    return figure


def quality_against_bytes(
    rows: Rows, *, quality: str = "ndcg_at_10", label: str = "nDCG@10", title: str = ""
) -> Figure:
    """Plot the quality of each row against its bytes, and the front that no other row is above.

    Args:
        rows: One mapping per point with ``method``, ``nbytes``, the `quality` field and, where
            known, its 95 % interval. Controls and rows without bytes become lines across.
        quality: Name of the quality field.
        label: What to call it.
        title: Title of the picture.

    Returns:
        The figure; the front is the staircase through the rows that have more quality than all
        with fewer bytes.

    Raises:
        ValueError: If no row has bytes.
    """
    points = sorted((row for row in rows if _known(row, "nbytes")), key=lambda row: row["nbytes"])
    if not points:
        raise ValueError("rows must hold at least one with nbytes > 0")
    with themed():
        figure, (ax,) = new_figure(7.2, 4.5)
        for row in rows:
            if not _known(row, "nbytes"):
                _line_across(ax, row["method"], row, quality)
        best, front = -inf, []
        for row in points:
            style, x = method_style(row["method"]), float(row["nbytes"])
            y, low, high = _interval(row, quality)
            ax.vlines(x, low, high, color=darker(style.color), lw=1, zorder=2)
            ax.plot([x], [y], ls="", ms=8, zorder=3, label=style.label, **style.point())
            if y > best:
                best = y
                front.append((x, y))
        ax.step(*zip(*front, strict=True), where="post", color=INK, lw=0.8, zorder=1)
        ax.set_xscale("log")
        plain_axis(ax.xaxis, lambda nbytes, _: in_bytes(nbytes))
        ax.set_xlabel("bytes of the embedding table (log scale)")
        ax.set_ylabel(label)
        ax.set_title(title or f"{label} against bytes")
        ax.legend(loc="lower right")
    return figure


def loss_by_data(
    panels: Mapping[str, Rows],
    *,
    published: Mapping[str, Rows] | None = None,
    columns: int = 3,
    shown: tuple[float, float] = (-0.06, 0.45),
) -> Figure:
    """Plot the relative loss of each method against its ratio, a panel for each data set.

    Args:
        panels: By title, rows with ``method``, ``compression_ratio``, ``loss`` and where known
            ``loss_low`` and ``loss_high``, all relative, 0.04 for 4 %.
        published: By title of a panel, rows with ``method``, ``compression_ratio`` and ``loss``
            from papers; drawn hollow.
        columns: Panels in a row.
        shown: Smallest and largest loss in the frame, the same in all panels; larger losses leave
            it at the top.

    Returns:
        The figure. Zero is the full table; lower is better.

    Raises:
        ValueError: There is no panel, or one of them is empty.
    """
    if not panels or not all(panels.values()):
        raise ValueError("every panel must have rows, and there must be at least one")
    across = min(columns, len(panels))
    down = ceil(len(panels) / across)
    with themed():
        figure = Figure(figsize=(3.9 * across, 0.9 + 2.9 * down), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        handles: dict[str, Any] = {}
        for ax, (title, rows) in zip(axes.flat, panels.items(), strict=False):
            ax.axhline(0, color=INK, lw=1.4, zorder=1.5)
            ax.axhspan(0, 4, color=FAINT, alpha=0.15, lw=0, zorder=0.5)
            for name, points in _by_method(rows).items():
                draw_curve(ax, name, points, "loss", scale=100)
            for name, points in _by_method((published or {}).get(title, ())).items():
                draw_published(ax, name, points, "loss", scale=100)
            ax.set_title(title)
            handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        first, spare = axes.flat[0], axes.flat[len(panels) :]
        _ratio_axis(first, [row for rows in panels.values() for row in rows])
        low, high = first.get_ylim()
        first.set_ylim(max(low, 100 * shown[0]), min(high, 100 * shown[1]))
        for ax in axes[:, 0]:
            ax.set_ylabel("loss against full table, %")
        for ax in spare:
            ax.set_axis_off()
        for ax in axes.flat[max(0, len(panels) - across) : len(panels)]:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("compression ratio (bytes)")
        if len(spare):
            spare[0].legend(handles.values(), handles.keys(), loc="center left")
        else:
            columns = min(4, len(handles))
            figure.legend(
                handles.values(), handles.keys(), loc="outside lower center", ncols=columns
            )
    return figure


def draw_curve(ax: Axes, name: str, points: Rows, quality: str, scale: float = 1) -> _End:
    """Draw a method's points with a band for the intervals, or with bars if it is one point."""
    style = method_style(name)
    points = sorted(points, key=lambda row: float(row["compression_ratio"]))
    x = np.array([float(row["compression_ratio"]) for row in points])
    y, low, high = scale * np.array([_interval(row, quality) for row in points]).T
    if len(np.unique(x)) > 1:
        ax.fill_between(x, low, high, color=style.color, alpha=0.14, lw=0, zorder=2)
    else:
        ax.vlines(x, low, high, color=darker(style.color), lw=1, zorder=2)
    ax.plot(x, y, label=style.label, zorder=3, **style.line())
    return _End(x[-1], y[-1], style)


def draw_published(ax: Axes, name: str, points: Rows, quality: str, scale: float = 1) -> None:
    """Draw a paper's own figures: large hollow markers, joined by nothing."""
    style = method_style(name)
    ax.plot(
        [float(row["compression_ratio"]) for row in points],
        [scale * float(row[quality]) for row in points],
        ls="", marker=style.marker or "h", ms=11, mfc="none", mec=style.color, mew=1.5,
        label=f"{style.label}, as published", zorder=4,
    )  # fmt: skip


def _line_across(ax: Axes, name: str, row: Mapping[str, Any], quality: str) -> _End:
    style = method_style(name)
    value, low, high = _interval(row, quality)
    ax.axhline(value, color=style.color, ls=style.dash, lw=1.4, label=style.label, zorder=1.5)
    ax.axhspan(low, high, color=style.color, alpha=0.08, lw=0, zorder=0.5)
    return _End(inf, value, style)


def _by_method(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    methods: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        methods.setdefault(str(row["method"]), []).append(row)
    return methods


def _interval(row: Mapping[str, Any], quality: str) -> tuple[float, float, float]:
    """Value and the ends of its interval; the value itself where they are unknown."""
    value = float(row[quality])
    low, high = (_known(row, f"{quality}{end}") for end in ("_low", "_high"))
    return value, value if low is None else low, value if high is None else high


def _known(row: Mapping[str, Any], name: str) -> float | None:
    """A field as a number; None where it is missing, None or NaN."""
    value = row.get(name)
    return None if value is None or isnan(value) else float(value)


def _ratio_axis(ax: Axes, rows: Rows) -> None:
    """Make the horizontal axis logarithmic, with a tick at each power of two."""
    ratios = [float(row["compression_ratio"]) for row in rows]
    low, high = min(ratios) / 1.12, max(ratios) * 1.12
    ax.set_xscale("log", base=2)
    ax.set_xlim(low, high)
    ticks = [2**k for k in range(12) if low <= 2**k <= high]
    ax.set_xticks(ticks, [f"{tick}×" for tick in ticks])
    ax.xaxis.set_minor_formatter(lambda *_: "")


def _label_ends(figure: Figure, ax: Axes, ends: Sequence[_End]) -> None:
    """Label lines that reach the right edge beside it, moved apart to be read; others in place."""
    low, high = ax.get_ylim()
    edge = ax.get_xlim()[1]
    height = figure.get_figheight() * 72 * 0.74  # of the axes, in points
    beside = [end for end in ends if end.x >= edge / 1.3]
    inside = [end for end in ends if end.x < edge / 1.3]
    for x, y, style in inside:
        beside_it = offset_copy(ax.transData, figure, 9, 9, units="points")
        ax.plot([x], [y], ls="", ms=6, transform=beside_it, label="_leader", **style.point())
        ax.annotate(
            style.label, (x, y), (16, 9), textcoords="offset points", va="center",
            fontsize=_FONT, color=darker(style.color),
        )  # fmt: skip
    wanted = [(end.y - low) / (high - low) for end in beside]
    places = spread(wanted, 1.4 * _FONT / height)
    for start, place, (_, _, style) in zip(wanted, places, beside, strict=True):
        look: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False, "label": "_leader"}
        ax.plot([1.0, 1.03], [start, place], color=style.color, lw=0.8, **look)
        ax.plot([1.045], [place], ls="", ms=6, **look, **style.point())
        ax.text(
            1.065, place, style.label, transform=ax.transAxes, va="center", fontsize=_FONT,
            color=darker(style.color),
        )  # fmt: skip
    ax.set_ylim(low, high)
