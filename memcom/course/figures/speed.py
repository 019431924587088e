"""Costs of training and reading a table: bytes held, and bytes moved in a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memcom._text import in_bytes
from memcom.course.figures._shared import note
from memcom.plots.theme import INK, PALETTE, method_style, new_figure, plain_axis, spread, themed

_HATCHES = ("", "////", "....", "xxx")


@themed()
def memory_side_by_side(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The same memory as several meters count it: a group of bars for each way to train.

    Args:
        rows: One mapping per way, with a ``label`` and, by the name of the meter, its bytes.

    Returns:
        The figure, first row on top; each bar is labelled with its bytes.

    Raises:
        ValueError: There are no rows, or they have no meters, more than four, or not the same.
    """
    meters = [name for name in rows[0] if name != "label"] if rows else []
    if not 1 <= len(meters) <= len(_HATCHES) or any({*row} != {*rows[0]} for row in rows):
        raise ValueError(f"rows must share 1 to {len(_HATCHES)} meters, got {meters}")
    high = 0.8 / len(meters)
    figure, (ax,) = new_figure(8.4, 1.2 + 0.27 * len(rows) * (len(meters) + 0.8))
    for k, meter in enumerate(meters):
        values = [row[meter] for row in rows]
        places = np.arange(len(rows)) + (k - (len(meters) - 1) / 2) * high
        look: Any = {"color": PALETTE[k], "hatch": _HATCHES[k], "edgecolor": INK, "lw": 0.7}
        ax.barh(places, values, 0.9 * high, label=meter, **look)
        for place, value in zip(places, values, strict=True):
            note(ax, in_bytes(value), (value, place), (4, 0), va="center", fontsize=8.5)
    ax.set_yticks(range(len(rows)), [str(row["label"]) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1.14 * max(row[meter] for row in rows for meter in meters))
    _bars_of_bytes(ax, "What training holds", len(meters))
    return figure


def _bars_of_bytes(ax: Axes, title: str, columns: int) -> None:
    """Label horizontal bars whose length is bytes; the legend stands between title and bars."""
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    plain_axis(ax.xaxis, lambda x, _: in_bytes(x))
    ax.set_title(title, pad=26)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2)


@themed()
def roofline(points: Sequence[Mapping[str, Any]], limits: Mapping[str, float]) -> Figure:
    """Time against bytes moved: points for each method, a line for each limit of the machine.

    A point below the memory's line is quicker than memory could deliver its bytes: a cache helped.
    One far above spends its time on something else than moving bytes. Where a method's line goes
    flat, to the left, the call itself takes longer than its work.

    Args:
        points: Each with ``method``, ``bytes`` and ``seconds``, and with ``low`` and ``high`` ends
            of an interval of the seconds where they are known. A ``method`` is a registry name;
            ``label`` replaces the name beside its last point, and tells apart two of one name.
        limits: Bytes per second by name.

    Returns:
        The figure, on logarithmic axes; a limit is a straight line there.

    Raises:
        ValueError: There are no points or no limits.
    """
    if not points or not limits:
        raise ValueError(f"got {len(points)} points and {len(limits)} limits; need one of each")
    curves: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for p in points:
        key = str(p["method"]), str(p.get("label", method_style(str(p["method"])).label))
        spot = tuple(float(p.get(k, p["seconds"])) for k in ("bytes", "seconds", "low", "high"))
        curves.setdefault(key, []).append(spot)
    every = np.array([spot for curve in curves.values() for spot in curve])
    left, right = every[:, 0].min() / 1.5, every[:, 0].max() * 1.4
    slowest, quickest = min(limits.values()), max(limits.values())
    low = min(every[:, 1].min(), left / quickest) / 1.4
    high = max(every[:, 1].max(), right / slowest) * 1.4
    figure, (ax,) = new_figure(8.4, 5.2)
    ax.set(xscale="log", yscale="log", xlim=(left, right), ylim=(low, high))
    for rate, dash in zip(limits.values(), ("-", "--", ":", "-."), strict=False):
        ax.plot([left, right], [left / rate, right / rate], color=INK, ls=dash, lw=1.3)
    ends = [max(curve) for curve in curves.values()]
    heights = np.exp(spread([np.log(end[1]) for end in ends], 0.055 * np.log(high / low)))
    for (key, curve), end, height in zip(curves.items(), ends, heights, strict=True):
        style = method_style(key[0])
        x, y, bottom, top = np.array(sorted(curve)).T
        ax.vlines(x, bottom, top, color=style.color, lw=1.2)
        ax.plot(x, y, ms=8, **{**style.line(), "lw": 1.2})
        beside = 1.03, np.log(height / low) / np.log(high / low)
        leader = {"arrowstyle": "-", "color": style.color, "lw": 0.7}
        ax.annotate(
            key[1], (end[0], end[1]), beside, textcoords="axes fraction", va="center",
            fontsize=9.5, arrowprops=leader, annotation_clip=False,
        )  # fmt: skip
    plain_axis(ax.xaxis, lambda x, _: in_bytes(x))
    plain_axis(ax.yaxis, lambda y, _: in_time(y))
    ax.set(xlabel="bytes moved (log scale)", ylabel="time (log scale)")
    ax.set_title("Bytes moved against time")
    _name_limits(ax, limits)
    return figure


def _name_limits(ax: Axes, limits: Mapping[str, float]) -> None:
    """Write each limit along its line; the axes must have their final size."""
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    left, right = ax.get_xlim()
    (x0, y0), (x1, y1) = ax.transData.transform([(left, left), (right, right)])
    along = {"rotation": float(np.degrees(np.arctan2(y1 - y0, x1 - x0))), "va": "top"}
    for name, rate in limits.items():
        text = f"{name}: {rate / 1e9:.0f} GB/s"
        note(ax, text, (left, left / rate), (12, 3), fontsize=9, rotation_mode="anchor", **along)


def in_time(seconds: float) -> str:
    """Return seconds with three digits and a unit: 0.00123 is ``"1.23 ms"``."""
    for size, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
