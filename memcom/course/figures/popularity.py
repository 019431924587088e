"""Figures about popularity: the long tail, and what MEmCom's multipliers make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memcom.collisions.multipliers import multipliers
from memcom.plots.theme import FAINT, PALETTE, method_style, new_figure, plain_axis, themed

_MOST_POINTS = 1500


def _thin(n: int) -> np.ndarray:
    """Indices to draw: all of few, else evenly spread on a log scale, both ends included."""
    if n <= _MOST_POINTS:
        return np.arange(n)
    return np.unique(np.geomspace(1, n, _MOST_POINTS).round().astype(np.int64)) - 1


def long_tail(
    counts: np.ndarray, *, ids: str = "ids", events: str = "interactions", shares: Any = (0.5, 0.9)
) -> Figure:
    """Popularity against rank, beside the share of everything that the first ids take.

    Args:
        counts: How often each id occurs `(num_embeddings,)`, in any order.
        ids: What an id is, for labels.
        events: What is counted, for labels.
        shares: Shares of the total to mark with the number of ids that reach them.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no counts, or one is negative, or all are 0.
    """
    counts = np.sort(np.asarray(counts))[::-1]
    if counts.ndim != 1 or not len(counts) or counts[-1] < 0 or counts[0] <= 0:
        raise ValueError("counts must be a flat list of numbers at least 0, one above 0")
    n, seen = len(counts), int((counts > 0).sum())
    rank, total = np.arange(1, n + 1), np.cumsum(counts) / counts.sum()
    with themed():
        figure, (left, right) = new_figure(8.6, 3.9, 2)
        keep = _thin(seen)
        left.plot(rank[keep], counts[keep], color=PALETTE[0], label="count")
        left.set(xscale="log", yscale="log", xlabel=f"rank of the {ids} (1 = most popular)")
        left.set_ylabel(events)
        left.set_title("Few are popular, most are rare")
        plain_axis(left.xaxis)
        plain_axis(left.yaxis)
        rare, never = int((counts <= 5).sum()), n - seen
        if rare:
            left.axhspan(counts[counts > 0][-1], 5, color=PALETTE[1], alpha=0.25, lw=0)
            left.text(
                0.03,
                0.04,
                f"{rare / n:.0%} of {n:,} {ids}\nhave 5 {events} or fewer"
                + (f",\n{never / n:.0%} have none" if never else ""),
                transform=left.transAxes,
                va="bottom",
            )
        keep = _thin(n)
        right.plot(rank[keep], total[keep], color=PALETTE[0], label="share")
        right.set(xscale="log", ylim=(0, 1.04), xlabel=f"the first … {ids}")
        right.set_ylabel(f"their share of all {events}")
        plain_axis(right.xaxis)
        plain_axis(right.yaxis, lambda y, _: f"{y:.0%}")
        for share in shares:
            first = int(np.searchsorted(total, share - 1e-12)) + 1
            right.plot([first], [total[first - 1]], "o", color=PALETTE[3], ms=6)
            right.plot([1, first, first], [share, share, 0], color=FAINT, lw=0.9, ls=":")
            right.annotate(
                f"{share:.0%}: {first:,} {ids}",
                (first, total[first - 1]),
                xytext=(-8, 4),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=9.5,
            )
        half = int(np.searchsorted(total, 0.5 - 1e-12)) + 1
        right.set_title(f"{half / n:.1%} of the {ids} take half")
    return figure


def multiplier_by_popularity(emb: Any, counts: np.ndarray, before: Any = None) -> Figure:
    """MEmCom's learned multiplier of each id against how often the id was seen.

    Args:
        emb: A MEmCom layer, or its multipliers `(num_embeddings,)`.
        counts: Training count of each id `(num_embeddings,)`; ids never seen are left out.
        before: The layer (or its multipliers) before training; drawn as hollow points.

    Returns:
        The figure: points, and median with the middle 80 % of ids in bands of popularity.

    Raises:
        ValueError: If the lengths differ or no id was seen.
    """
    after = _scalars(emb)
    counts = np.asarray(counts)
    start = None if before is None else _scalars(before)
    for name, values in (("multipliers", after), ("before", after if start is None else start)):
        if values.shape != counts.shape:
            raise ValueError(f"counts has shape {counts.shape} and {name} {values.shape}")
    seen = np.flatnonzero(counts > 0)
    if not len(seen):
        raise ValueError("counts must be above 0 for at least one id")
    style = method_style("memcom")
    many = len(seen) > 3000
    with themed():
        figure, (ax,) = new_figure(7.2, 4.4)
        if start is not None:
            ax.plot(
                counts[seen],
                start[seen],
                ls="",
                marker="o",
                ms=3 if many else 4.5,
                mfc="none",
                mec=FAINT,
                mew=0.7,
                label="before training",
                rasterized=many,
            )
        ax.plot(
            counts[seen],
            after[seen],
            ls="",
            marker="o",
            ms=2.2 if many else 4,
            mfc=style.color,
            mec="none",
            alpha=0.25 if many else 0.5,
            label="one id, after training",
            rasterized=many,
        )
        _bands(ax, counts[seen], after[seen])
        ax.axhline(0, color=FAINT, lw=0.8)
        ax.set(xscale="log", xlabel="how often the id occurs in training")
        ax.set_ylabel("multiplier")
        plain_axis(ax.xaxis)
        ax.set_title("What each id's own weight learned")
        key = ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, markerscale=1.4)
        for handle in key.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return figure


def _scalars(source: Any) -> np.ndarray:
    if hasattr(source, "num_embeddings"):
        return multipliers(source)
    return np.asarray(source, dtype=np.float64).reshape(-1)


def _bands(ax: Axes, counts: np.ndarray, values: np.ndarray) -> None:
    """Median and 10-90 % of the values in bands of popularity of a factor of two."""
    band = np.floor(np.log2(counts)).astype(np.int64)
    bands = [b for b in np.unique(band) if (band == b).sum() >= 5]
    if len(bands) < 2:
        return
    quantiles = np.array([np.quantile(values[band == b], [0.1, 0.5, 0.9]) for b in bands])
    centre = [np.exp(np.log(counts[band == b]).mean()) for b in bands]
    ink = "#0b3954"
    ax.plot(centre, quantiles[:, 1], color=ink, lw=2.4, marker="D", ms=5, label="median")
    for edge, label in ((0, "middle 80 %"), (2, None)):
        ax.plot(centre, quantiles[:, edge], color=ink, lw=1.2, ls="--", label=label)
