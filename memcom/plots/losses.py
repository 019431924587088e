"""Sweeps of several data sets side by side: the loss against the full table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memcom.plots.theme import FAINT, INK, method_style, themed

Rows = Sequence[Mapping[str, Any]]


def hollow(ax: Axes, name: str, rows: Rows, quality: str, scale: float = 1.0) -> None:
    """Draw a paper's own figures: large hollow markers, joined by nothing.

    Args:
        ax: Where.
        name: The method.
        rows: With ``compression_ratio`` and the `quality` field.
        quality: Name of that field.
        scale: The field is multiplied by this.
    """
    look = method_style(name)
    ax.plot(
        [float(row["compression_ratio"]) for row in rows],
        [scale * float(row[quality]) for row in rows],
        ls="", marker=look.marker or "h", ms=11, mfc="none", mec=look.color, mew=1.5,
        label=f"{look.label}, as published", zorder=4,
    )  # fmt: skip


def loss_by_data(
    panels: Mapping[str, Rows],
    *,
    published: Mapping[str, Rows] | None = None,
    columns: int = 3,
    shown: tuple[float, float] = (-0.06, 0.45),
) -> Figure:
    """Relative loss of each method against its compression ratio, a panel for each data set.

    Args:
        panels: By title, rows with ``method``, ``compression_ratio``, ``loss`` and where known
            ``loss_low`` and ``loss_high``, all relative, 0.04 for 4 %.
        published: By title of a panel, rows with ``method``, ``compression_ratio`` and ``loss``
            from papers; drawn hollow.
        columns: Panels in a row.
        shown: Smallest and largest loss in the frame, the same in all panels; what loses more
            leaves it at the top.

    Returns:
        The figure. Zero is the full table; a method further down has lost less.

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
        for ax, (title, rows) in zip(axes.flat, panels.items(), strict=False):
            _panel(ax, rows, (published or {}).get(title, ()))
            ax.set_title(title)
        spare = axes.flat[len(panels) :]
        for ax in spare:
            ax.set_axis_off()
        for ax in axes.flat[max(0, len(panels) - across) : len(panels)]:
            ax.tick_params(labelbottom=True)
        first = axes.flat[0]
        first.set_xscale("log", base=2)
        ratios = [float(r["compression_ratio"]) for rows in panels.values() for r in rows]
        ticks = [2**k for k in range(12) if min(ratios) / 1.2 <= 2**k <= max(ratios) * 1.2]
        first.set_xticks(ticks, [f"{tick}×" for tick in ticks])
        first.xaxis.set_minor_formatter(lambda *_: "")
        low, high = first.get_ylim()
        first.set_ylim(max(low, 100 * shown[0]), min(high, 100 * shown[1]))
        for ax in axes[:, 0]:
            ax.set_ylabel("loss against full table, %")
        for column in range(across):  # under the lowest panel of each
            axes[(len(panels) - 1 - column) // across, column].set_xlabel(
                "compression ratio (bytes)"
            )
        names: dict[str, Any] = {}
        for ax in axes.flat[: len(panels)]:
            names |= {label: h for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        if len(spare):
            spare[0].legend(names.values(), names.keys(), loc="center left")
        else:
            figure.legend(
                names.values(), names.keys(), loc="outside lower center", ncols=min(4, len(names))
            )
    return figure


def _panel(ax: Axes, rows: Rows, published: Rows) -> None:
    ax.axhline(0, color=INK, lw=1.4, zorder=1.5)
    ax.axhspan(0, 4, color=FAINT, alpha=0.15, lw=0, zorder=0.5)
    for name in dict.fromkeys(str(row["method"]) for row in rows):
        own = [row for row in rows if row["method"] == name]
        own.sort(key=lambda row: float(row["compression_ratio"]))
        style = method_style(name)
        y = 100 * np.array([float(row["loss"]) for row in own])
        low, high = (
            100 * np.array([float(row.get(end, row["loss"])) for row in own])
            for end in ("loss_low", "loss_high")
        )
        ax.errorbar(
            [float(row["compression_ratio"]) for row in own], y, yerr=[y - low, high - y],
            capsize=2, elinewidth=0.9, label=style.label, zorder=3,
            ecolor=style.point()["markeredgecolor"], **style.line() | {"markersize": 5.5},
        )  # fmt: skip
    for name in dict.fromkeys(str(row["method"]) for row in published):
        hollow(ax, name, [row for row in published if row["method"] == name], "loss", 100)
