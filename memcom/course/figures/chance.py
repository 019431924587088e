"""Counts in a layer against chance: ids per row, colliding pairs, pairs made equal by rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from memcom.collisions import CollisionReport, TableUse, birthday_pairs, expected_collisions
from memcom.course.figures._shared import ZERO, axis_of_counts, note, num_pairs
from memcom.plots.theme import (
    INK,
    PALETTE,
    darker,
    method_style,
    new_figure,
    plain_axis,
    themed,
)

_PANELS = 4
_BARS = 45


@themed()
def bucket_occupancy(report: CollisionReport) -> Figure:
    """Number of rows by the ids they hold, against uniform hashing.

    Args:
        report: From `memcom.collisions.report`. Tables with a row per id are left out; the first
            four others are drawn, one panel each.

    Returns:
        The figure.

    Raises:
        ValueError: No table is shared.
    """
    shared = [t for t in report.tables if not t.one_row_per_id]
    if not shared:
        raise ValueError(f"no row of {report.name} is shared: nothing to draw")
    shown = shared[:_PANELS]
    figure, axes = new_figure(max(6.4, 4.3 * len(shown)), 4.0, len(shown))
    for ax, table in zip(axes, shown, strict=True):
        _occupancy(ax, table, report.num_embeddings)
    axes[0].set_ylabel("rows of the table")
    axes[0].legend(loc="best")
    if len(shown) < len(shared):
        figure.supxlabel(f"{len(shared) - len(shown)} more tables not drawn", fontsize=9)
    return figure


def _occupancy(ax: Axes, table: TableUse, n: int) -> None:
    from scipy.stats import binom

    low, high = int(table.sizes[0]), int(table.sizes[-1])
    chance = 1 - (1 - 1 / table.rows) ** table.reads  # that an id reads a given row
    mean, deviation = n * chance, (n * chance * (1 - chance)) ** 0.5
    low = max(min(low, int(mean - 3 * deviation)), 0)
    high = max(high, int(mean + 3 * deviation) + 1)
    step = max(1, -(-(high - low + 1) // _BARS))
    edges = np.arange(low, high + step + 1, step)
    held = np.histogram(table.sizes, edges, weights=table.size_counts)[0]
    centre = edges[:-1] + (step - 1) / 2
    bars: Any = {"color": PALETTE[9], "ec": darker(PALETTE[9]), "lw": 0.5, "label": "this layer"}
    ax.bar(centre, held, 0.86 * step, **bars)
    expected = table.rows * np.diff(binom.cdf(edges - 1, n, chance))
    seen = expected > 1e-3 * expected.max()
    line: Any = {"color": INK, "mfc": "white", "ms": 4, "lw": 1.2, "label": "uniform hashing"}
    ax.plot(centre[seen], expected[seen], "o-", **line)
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


@themed()
def expected_against_observed(
    num_embeddings: int,
    num_codes: Sequence[int],
    observed: Mapping[str, Sequence[float]],
    *,
    what: str = "pairs",
) -> Figure:
    """Collisions counted in layers of several sizes, against the birthday curve.

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
        ValueError: `what` is unknown or a list has the wrong length.
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
    band = np.maximum([getattr(c, f"{what}_interval") for c in chance], ZERO).T
    figure, (ax,) = new_figure(7.2, 4.4)
    ax.fill_between(fine, *band, color=PALETTE[9], alpha=0.45, lw=0, label="95 % of random hashes")
    drawn = curve >= ZERO
    ax.plot(fine[drawn], curve[drawn], color=INK, lw=1.3, ls="--", label="expected")
    for name, values in observed.items():
        style = method_style(name)
        y = np.maximum(np.asarray(values, dtype=float), ZERO)
        ax.plot(sizes, y, ls="", ms=7.5, label=f"{style.label}, counted", **style.point())
    ax.set(xscale="log", xlabel="codes there is room for (log scale)")
    plain_axis(ax.xaxis)
    noun = "pairs of ids with equal codes" if what == "pairs" else "different codes"
    ax.set_ylabel(noun)
    if what == "pairs":
        axis_of_counts(ax)
    else:
        plain_axis(ax.yaxis)
        ax.set_ylim(0, 1.05 * num_embeddings)
    ax.set_title(f"{num_embeddings:,} ids: {noun}, counted and by chance")
    ax.legend(loc="best")
    return figure


def equal_after_rounding(values: np.ndarray, bucket: np.ndarray, bits: int) -> int:
    """Number of pairs of one bucket whose values round to the same level.

    Args:
        values: ``(n,)`` one number per id.
        bucket: ``(n,)`` int64, the bucket of each id.
        bits: ``2**bits`` levels, evenly spaced from the smallest to the largest value.

    Returns:
        Unordered pairs.
    """
    values = np.asarray(values, dtype=np.float64)
    reach = float(np.ptp(values)) or 1.0
    level = np.round((values - values.min()) / reach * (2**bits - 1)).astype(np.int64)
    return num_pairs(np.asarray(bucket) * 2**bits + level)


@themed()
def rounding_collisions(
    values: np.ndarray, bucket: np.ndarray, bits: Sequence[int] = tuple(range(2, 25))
) -> Figure:
    """Pairs of a bucket that rounding makes equal, against the number of bits.

    Args:
        values: ``(n,)`` one number per id, such as MEmCom's multipliers.
        bucket: ``(n,)`` int64, the bucket of each id.
        bits: Numbers of bits, ascending.

    Returns:
        The figure: counted pairs, and the birthday count if all levels were equally likely. Zero
        pairs stand at the foot of the logarithmic axis, which is labelled 0 there.
    """
    counted = np.array([equal_after_rounding(values, bucket, b) for b in bits], dtype=float)
    sizes = np.unique(bucket, return_counts=True)[1]
    expected = np.array([birthday_pairs(sizes, 2.0**b) for b in bits])
    figure, (ax,) = new_figure(7.4, 4.2)
    ax.plot(bits, np.maximum(counted, ZERO), label="counted", **method_style("memcom").line())
    shown = expected >= ZERO
    chance: Any = {
        "color": INK,
        "ls": "--",
        "lw": 1.3,
        "label": "if all levels were equally likely",
    }
    ax.plot(np.array(bits)[shown], expected[shown], **chance)
    for b, name in ((8, "int8"), (16, "16 bits")):
        ax.axvline(b, color=INK, lw=0.8, ls=":")
        note(ax, name, (b, 1), (4, -12), xycoords=("data", "axes fraction"))
    ax.set(xlabel="bits of the number", ylabel="pairs of ids that are equal")
    axis_of_counts(ax)
    ax.set_xticks([b for b in bits if b % 4 == 0])
    ax.set_title("Every bit less doubles the pairs that are one again")
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.9))
    return figure
