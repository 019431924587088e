"""Figures that hold a layer against chance: full buckets, colliding pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from memcom.collisions import CollisionReport, TableUse, expected_collisions
from memcom.plots.theme import (
    INK,
    PALETTE,
    darker,
    method_style,
    new_figure,
    plain_axis,
    short_number,
    themed,
)

_PANELS = 4
_BARS = 45


def bucket_occupancy(report: CollisionReport) -> Figure:
    """How many rows hold how many ids, against what uniform hashing would give.

    Args:
        report: From `memcom.collisions.report`. Tables with a row per id are left out; the first
            four others are drawn, one panel each.

    Returns:
        The figure.

    Raises:
        ValueError: If no table is shared.
    """
    shared = [t for t in report.tables if not t.one_row_per_id]
    if not shared:
        raise ValueError(f"no row of {report.name} is shared: nothing to draw")
    shown = shared[:_PANELS]
    with themed():
        figure, axes = new_figure(max(6.4, 4.3 * len(shown)), 4.0, len(shown))
        for ax, table in zip(axes, shown, strict=True):
            _occupancy(ax, table, report.num_embeddings)
        axes[0].set_ylabel("rows of the table")
        axes[0].legend(loc="best")
        if len(shown) < len(shared):
            figure.supxlabel(f"{len(shared) - len(shown)} more tables not drawn", fontsize=9)
    return figure


def _occupancy(ax: Axes, table: TableUse, n: int) -> None:
    low, high = int(table.sizes[0]), int(table.sizes[-1])
    chance = 1 - (1 - 1 / table.rows) ** table.reads  # that an id reads a given row
    mean, deviation = n * chance, (n * chance * (1 - chance)) ** 0.5
    low, high = min(low, int(mean - 3 * deviation)), max(high, int(mean + 3 * deviation) + 1)
    low = max(low, 0)
    step = max(1, -(-(high - low + 1) // _BARS))
    edges = np.arange(low, high + step + 1, step)
    held = np.histogram(table.sizes, edges, weights=table.size_counts)[0]
    centre = edges[:-1] + (step - 1) / 2
    ax.bar(
        centre, held, 0.86 * step, color=PALETTE[9], ec=darker(PALETTE[9]), lw=0.5,
        label="this layer",
    )  # fmt: skip
    expected = table.rows * np.diff(_binomial_cdf(edges - 1, n, chance))
    seen = expected > 1e-3 * expected.max()
    ax.plot(
        centre[seen], expected[seen], "o-", color=INK, mfc="white", ms=4, lw=1.2,
        label="uniform hashing",
    )  # fmt: skip
    ax.set_xlabel("ids that read the same row" + (f" (bars of {step})" if step > 1 else ""))
    unused = table.rows - table.rows_used
    ax.set_title(
        f"{table.name}: {table.rows:,} rows, fullest {table.largest:,}"
        + (f", {unused:,} unused" if unused else "")
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(7, integer=True))
        plain_axis(axis)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(0, 1.12 * max(held.max(), expected.max()))


def _binomial_cdf(k: np.ndarray, n: int, p: float) -> np.ndarray:
    """P(X <= k) for each k, summed from log masses around the mean."""
    if p >= 1:
        return (k >= n).astype(float)
    top = int(min(n, max(k.max(), 0)))
    i = np.arange(1, top + 1, dtype=np.float64)
    steps = np.log((n - i + 1) / i) + np.log(p) - np.log1p(-p)
    log_mass = n * np.log1p(-p) + np.r_[0.0, np.cumsum(steps)]
    total = np.r_[0.0, np.cumsum(np.exp(log_mass))]
    return total[np.clip(k + 1, 0, top + 1)]


def expected_against_observed(
    num_embeddings: int,
    num_codes: Sequence[int],
    observed: Mapping[str, Sequence[float]],
    *,
    what: str = "pairs",
) -> Figure:
    """Collisions counted in layers of several sizes against the birthday curve.

    Args:
        num_embeddings: Ids of every layer.
        num_codes: Codes each layer has room for, ascending (m for a hash table of m rows, the
            product for several tables).
        observed: Counts by method name, one per entry of `num_codes`: colliding pairs, or distinct
            codes.
        what: "pairs" or "distinct".

    Returns:
        The figure: expected curve with the band that holds 95 % of random hashes, and points.
        Zero pairs stand at the foot of the logarithmic axis, which is labelled 0 there.

    Raises:
        ValueError: If `what` is unknown or a list has the wrong length.
    """
    if what not in ("pairs", "distinct"):
        raise ValueError(f"what must be 'pairs' or 'distinct', got {what!r}")
    for name, values in observed.items():
        if len(values) != len(num_codes):
            raise ValueError(f"{name} has {len(values)} values for {len(num_codes)} sizes")
    sizes = np.asarray(num_codes, dtype=np.float64)
    fine = np.unique(np.geomspace(sizes.min(), sizes.max(), 80).round().astype(np.int64))
    chance = [expected_collisions(num_embeddings, int(m)) for m in fine]
    curve = np.array([getattr(c, what) for c in chance])
    band = np.array([getattr(c, f"{what}_interval") for c in chance])
    floor = 0.3
    with themed():
        figure, (ax,) = new_figure(7.2, 4.4)
        lower = np.maximum(band[:, 0], floor)
        ax.fill_between(
            fine, lower, np.maximum(band[:, 1], floor), color=PALETTE[9], alpha=0.45, lw=0,
            label="95 % of random hashes",
        )  # fmt: skip
        drawn = curve >= floor
        ax.plot(fine[drawn], curve[drawn], color=INK, lw=1.3, ls="--", label="expected")
        for name, values in observed.items():
            style = method_style(name)
            y = np.maximum(np.asarray(values, dtype=float), floor)
            ax.plot(sizes, y, ls="", ms=7.5, label=f"{style.label}, counted", **style.point())
        ax.set(xscale="log", xlabel="codes there is room for (log scale)")
        noun = "pairs of ids with equal codes" if what == "pairs" else "different codes"
        ax.set_ylabel(noun)
        plain_axis(ax.xaxis)
        plain_axis(ax.yaxis)
        if what == "pairs":
            ax.set(yscale="log")
            plain_axis(ax.yaxis, lambda y, _: "0" if y <= floor else short_number(y))
            ax.set_ylim(bottom=floor * 0.85)
            ax.set_yticks([floor, *(t for t in ax.get_yticks() if t >= 1)])
        else:
            ax.set_ylim(0, 1.05 * num_embeddings)
        ax.set_title(f"{num_embeddings:,} ids: {noun}, counted and by chance")
        ax.legend(loc="best")
    return figure
