"""Pictures of one table of a sweep: methods ranked at a budget, loss against another measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from memcom._annotations import checked
from memcom._check import real, shown
from memcom.plots.theme import INK, method_style, new_figure, themed

Row = Mapping[str, Any]


def at_budget(tables: Mapping[str, Sequence[Row]], data: str, ratio: float) -> list[Row]:
    """Return the rows of a table at the measured ratio that is nearest, by logarithm."""
    if not real("ratio", ratio, 0):
        raise ValueError(f"ratio must be above 0, got {ratio}")
    if data not in tables:
        raise ValueError(f"data must be one of {', '.join(tables)}, got {data!r}")
    asked = [row for row in tables[data] if row["ratio"] and not math.isnan(row["ratio"])]
    tried = {row["ratio"] for row in asked}
    near = min(tried, key=lambda each: abs(math.log(each / ratio)), default=None)
    return [row for row in asked if row["ratio"] == near]


@checked
def standing(
    tables: Mapping[str, Sequence[Row]], data: str, metric: str = "loss", ratio: float = 16
) -> Figure:
    """Plot the methods of a table at one budget, best on top, with 95 % intervals.

    Args:
        tables: Rows by the name of the table, as from `memcom.sweep.read_rows`: ``method``,
            ``ratio`` (None or NaN for full table and controls), ``nbytes``, ``metric`` (name of
            the ``value``), ``value`` and ``loss`` with ``_low`` and ``_high``.
        data: Name of the table.
        metric: ``"loss"`` against the full table, ``"value"`` of the task's metric, or another
            column, which has no interval.
        ratio: The ratio asked for; the nearest that was measured is shown.

    Returns:
        The figure; the line across is the full table.

    Raises:
        ValueError: There is no such table.
    """
    rows = _ranked(at_budget(tables, data, ratio), metric)
    full = next((row for row in tables[data] if row["method"] == "full"), None)
    with themed():
        figure, (ax,) = new_figure(7.4, max(4.6, 1 + 0.2 * len(rows)))
        for place, row in enumerate(rows):
            style = method_style(row["method"])
            value, low, high = _interval(row, metric)
            if high > low:
                ax.plot([low, high], [place, place], color=style.point()["markeredgecolor"], lw=1.6)
            ax.plot([value], [place], ls="", **style.point() | {"markersize": 9})
        if full is not None and not math.isnan(full.get(metric, math.nan)):
            ax.axvline(_interval(full, metric)[0], color=INK, lw=1.4, zorder=1)
        elif metric == "loss":
            ax.axvline(0, color=INK, lw=1.4, zorder=1)
        ax.set_yticks(range(len(rows)), [method_style(row["method"]).label for row in rows])
        ax.set_ylim(max(len(rows), 8) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(lambda value, _: _number(value))
        ax.set_xlabel(_label(rows, metric) + "; the line is the full table")
        ax.set_title(f"{data} at {rows[0]['ratio']:g}×" if rows else f"{data}: not measured")
    return figure


@checked
def describe_standing(
    tables: Mapping[str, Sequence[Row]], data: str, metric: str = "loss", ratio: float = 16
) -> str:
    """Return the picture of `standing` in words; takes the same arguments."""
    rows = _ranked(at_budget(tables, data, ratio), metric)
    if not rows:
        return f"{data}: no {metric} was measured."
    parts = []
    for row in rows:
        value, low, high = _interval(row, metric)
        span = f" ({_number(low)} to {_number(high)})" if high > low else ""
        bytes_too = "" if metric == "nbytes" else f", {row['nbytes']:,.0f} bytes"
        parts.append(f"{row['method']} {_number(value)}{span}{bytes_too}")
    return f"{data} at {rows[0]['ratio']:g}×, {_label(rows, metric)}: {'; '.join(parts)}."


@checked
def loss_against(rows: Sequence[Row], column: str, label: str, *, log: bool = False) -> Figure:
    """Plot the loss against another measured column, a point per row.

    Args:
        rows: With ``method``, ``loss`` (relative) and the column.
        column: Name of the column.
        label: Label of its axis.
        log: True for a logarithmic axis.

    Returns:
        The figure; the points of a method are joined from left to right.

    Raises:
        ValueError: There are no rows, or one lacks a column.
    """
    if not len(rows):
        raise ValueError("loss_against needs at least one row")
    for row in rows:
        lacking = {"method", "loss", column} - row.keys() if isinstance(row, Mapping) else {column}
        if lacking:
            raise ValueError(f"every row needs {', '.join(sorted(lacking))}, got {shown(row)}")
    with themed():
        figure, (ax,) = new_figure(7.4, 4.6)
        for name in dict.fromkeys(str(row["method"]) for row in rows):
            own = sorted(
                (row for row in rows if row["method"] == name),
                key=lambda row: float(row[column]),
            )
            x = np.array([float(row[column]) for row in own])
            y = 100 * np.array([float(row["loss"]) for row in own])
            style = method_style(name)
            ax.plot(x, y, label=style.label, **style.line() | {"linewidth": 0.9})
        ax.axhline(0, color=INK, lw=1.4, zorder=1)
        if log:
            ax.set_xscale("log")
        ax.set(xlabel=label, ylabel="loss against full table, %")
        ax.set_title(f"Loss against {label}")
        ax.legend(ncols=2)
    return figure


def _ranked(rows: Sequence[Row], metric: str) -> list[Row]:
    """Rows that have the metric, smallest loss first."""
    known = [row for row in rows if not math.isnan(_interval(row, metric)[0])]
    return sorted(known, key=lambda row: float(row["loss"]))


def _interval(row: Row, metric: str) -> tuple[float, float, float]:
    """Value and interval; losses in percent."""
    scale = 100 if metric == "loss" else 1
    value = float(row.get(metric, math.nan)) * scale
    low, high = (float(row.get(f"{metric}{end}", math.nan)) * scale for end in ("_low", "_high"))
    return value, value if math.isnan(low) else low, value if math.isnan(high) else high


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _label(rows: Sequence[Row], metric: str) -> str:
    if metric == "loss":
        return "loss against the full table, %"
    if metric == "value" and rows:
        return str(rows[0]["metric"])
    return {"nbytes": "bytes", "num_distinct": "different vectors"}.get(metric, metric)
