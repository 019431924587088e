"""Figures about experiments: quality against compression, and where the bytes go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memcom.plots.losses import hollow
from memcom.plots.theme import (
    INK,
    MethodStyle,
    method_style,
    new_figure,
    plain_axis,
    short_number,
    spread,
    themed,
)

CONTROLS = ("full", "popular", "bias-only")
_FONT = 9.5


def quality_against_ratio(
    rows: Sequence[Mapping[str, Any]],
    *,
    quality: str = "ndcg_at_10",
    label: str = "nDCG@10",
    published: Sequence[Mapping[str, Any]] = (),
) -> Figure:
    """Quality of each method against its real compression ratio, with intervals and controls.

    Args:
        rows: One mapping per point with ``method``, ``compression_ratio``, the `quality` field
            and, where known, its 95 % interval ``{quality}_low``, ``{quality}_high``. The full
            table, and what has no ratio, become lines across.
        quality: Name of the quality field.
        label: What to call it.
        published: Points of papers, with ``method``, ``compression_ratio`` and the `quality` field,
            measured elsewhere and scaled to this full table; drawn as large hollow markers.

    Returns:
        The figure; names stand at the ends of the lines.

    Raises:
        ValueError: If there is no row that is not a control.
    """
    methods: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        methods.setdefault(str(row["method"]), []).append(row)
    across = {m for m, r in methods.items() if m in CONTROLS or "compression_ratio" not in r[0]}
    curves = {m: r for m, r in methods.items() if m not in across}
    if not curves:
        raise ValueError("rows must hold at least one method besides the controls")
    with themed():
        figure, (ax,) = new_figure(7.8, 4.8)
        ends: list[tuple[float, MethodStyle]] = []
        for name, points in methods.items():
            if name not in curves:
                ends.append(_control(ax, name, points[0], quality))
        for name, points in curves.items():
            ends.append(_curve(ax, name, points, quality))
        ax.set_xscale("log", base=2)
        for name in dict.fromkeys(str(row["method"]) for row in published):
            hollow(ax, name, [row for row in published if row["method"] == name], quality)
        drawn = [*published, *(row for points in curves.values() for row in points)]
        ratios = sorted({round(float(row["compression_ratio"]), 3) for row in drawn})
        ax.set_xlim(ratios[0] / 1.12, ratios[-1] * 1.12)
        ticks = [2**k for k in range(12) if ratios[0] / 1.12 <= 2**k <= ratios[-1] * 1.12]
        ax.set_xticks(ticks, [f"{t}×" for t in ticks])
        ax.xaxis.set_minor_formatter(lambda *_: "")
        ax.set(xlabel="compression ratio of the embedding table (bytes, log scale)", ylabel=label)
        bars = any(f"{quality}_low" in row for row in rows)
        ax.set_title(f"{label} against compression" + (", bars: 95 % intervals" if bars else ""))
        _name_ends(ax, ends)
        if published:
            names = ax.get_legend_handles_labels()
            known = [pair for pair in zip(*names, strict=True) if "published" in str(pair[1])]
            ax.legend(*zip(*known, strict=True), loc="lower left")
    return figure


def _bounds(row: Mapping[str, Any], quality: str) -> tuple[float, float, float]:
    value = float(row[quality])
    low, high = row.get(f"{quality}_low"), row.get(f"{quality}_high")
    return value, value if low is None else float(low), value if high is None else float(high)


def _control(
    ax: Axes, name: str, row: Mapping[str, Any], quality: str
) -> tuple[float, MethodStyle]:
    style = method_style(name)
    value, low, high = _bounds(row, quality)
    ax.axhline(value, color=style.color, ls=style.dash, lw=1.6, label=name, zorder=1.5)
    if high > low:
        ax.axhspan(low, high, color=style.color, alpha=0.10, lw=0, zorder=0.5)
    return value, style


def _curve(
    ax: Axes, name: str, points: Sequence[Mapping[str, Any]], quality: str
) -> tuple[float, MethodStyle]:
    style = method_style(name)
    points = sorted(points, key=lambda row: float(row["compression_ratio"]))
    x = np.array([float(p["compression_ratio"]) for p in points])
    y, low, high = np.array([_bounds(p, quality) for p in points]).T
    ax.errorbar(
        x, y, yerr=[y - low, high - y], label=name, capsize=2, elinewidth=0.8, zorder=3,
        ecolor=style.point()["markeredgecolor"], **style.line(),
    )  # fmt: skip
    return float(y[-1]), style


def _name_ends(ax: Axes, ends: Sequence[tuple[float, MethodStyle]]) -> None:
    """Write names right of the axes at the heights of the lines' ends, moved apart to be read."""
    low, high = ax.get_ylim()
    height = ax.figure.bbox.height / ax.figure.dpi * 72 * 0.78  # of the axes, in points
    wanted = [(y - low) / (high - low) for y, _ in ends]
    places = spread(wanted, 1.4 * _FONT / height)
    for start, place, (_, style) in zip(wanted, places, ends, strict=True):
        look: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False, "label": "_leader"}
        ax.plot([1.0, 1.045], [start, place], color=style.color, lw=0.8, **look)
        ax.plot([1.06], [place], ls="", ms=6, **look, **style.point())
        ax.text(1.085, place, style.label, transform=ax.transAxes, va="center", fontsize=_FONT)
    ax.set_ylim(low, high)


def bytes_by_method(methods: Mapping[str, int | Mapping[str, int]]) -> Figure:
    """Stored bytes of each method as bars, split by tensor where that is known.

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
    hatches = ("", "////", "....", "\\\\\\\\", "xxx", "---")
    with themed():
        figure, (ax,) = new_figure(7.6, 1.1 + 0.42 * len(order))
        for y, name in enumerate(order):
            style, left = method_style(name), 0
            tensors = sorted(parts[name].items(), key=lambda item: -item[1])
            for k, (tensor, nbytes) in enumerate(tensors):
                ax.barh(
                    y, nbytes, 0.66, left=left, color=style.color, hatch=hatches[k % len(hatches)],
                    edgecolor="white", linewidth=0.6, label=f"{name}:{tensor}",
                )  # fmt: skip
                left += nbytes
            ratio = "" if left == largest else f"  ({largest / left:.3g}× smaller)"
            names = " + ".join(t for t, _ in tensors[:3]) + (" + …" if len(tensors) > 3 else "")
            detail = f"  {names}" if len(tensors) > 1 else ""
            inside = left > 0.75 * largest
            ax.text(
                left - 0.01 * largest if inside else left + 0.01 * largest,
                y,
                f"{size_in_bytes(left)}{ratio}{detail}",
                va="center",
                ha="right" if inside else "left",
                fontsize=_FONT,
                color="white" if inside else INK,
                bbox={"boxstyle": "round,pad=0.2", "fc": style.color, "ec": "none"}
                if inside
                else None,
            )
        ax.set_yticks(range(len(order)), [method_style(m).label for m in order])
        ax.set(ylim=(len(order) - 0.5, -0.5), xlabel="stored bytes")
        ax.tick_params(axis="y", length=0)
        plain_axis(ax.xaxis, lambda x, _: size_in_bytes(x))
        ax.grid(axis="y", visible=False)
        ax.set_title("What each table stores")
    return figure


def size_in_bytes(nbytes: float) -> str:
    """Write 2320896 as 2.32 MB."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if nbytes >= 0.9995 * size:
            return f"{nbytes / size:.3g} {unit}"
    return f"{short_number(nbytes)} B"
