"""Figures about popularity: the long tail, and how MEmCom's multipliers follow it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memcom.collisions.multipliers import multipliers
from memcom.course.figures._shared import legend_below, note
from memcom.plots.theme import FAINT, PALETTE, method_style, new_figure, plain_axis, themed

_MOST_POINTS = 1500
_DARK_BLUE = "#0b3954"


@themed()
def long_tail(
    counts: np.ndarray, *, ids: str = "ids", events: str = "interactions", shares: Any = (0.5, 0.9)
) -> Figure:
    """Popularity against rank, beside the share of everything that the first ids take.

    Args:
        counts: How often each id occurs, ``(num_embeddings,)``, in any order.
        ids: Plural noun for the ids, for labels.
        events: Plural noun for what is counted, for labels.
        shares: Shares of the total to mark with the number of ids that reach them.

    Returns:
        The figure.

    Raises:
        ValueError: There are no counts, or one is negative, or all are 0.
    """
    counts = np.sort(np.asarray(counts))[::-1]
    if counts.ndim != 1 or not len(counts) or counts[-1] < 0 or counts[0] <= 0:
        raise ValueError("counts must be a flat list of numbers at least 0, one above 0")
    n, seen = len(counts), int((counts > 0).sum())
    rank, total = np.arange(1, n + 1), np.cumsum(counts) / counts.sum()
    figure, (left, right) = new_figure(8.6, 3.9, 2)
    keep = _thin(seen)
    left.plot(rank[keep], counts[keep], color=PALETTE[0], label="count")
    left.set(xscale="log", yscale="log", xlabel=f"rank of the {ids} (1 = most popular)")
    left.set(ylabel=events, title="Few are popular, most are rare")
    plain_axis(left.xaxis)
    plain_axis(left.yaxis)
    rare, never = int((counts <= 5).sum()), n - seen
    if rare:
        left.axhspan(counts[counts > 0][-1], 5, color=PALETTE[1], alpha=0.25, lw=0)
        text = f"{rare / n:.0%} of {n:,} {ids}\nhave 5 {events} or fewer"
        text += f",\n{never / n:.0%} have none" if never else ""
        left.text(0.03, 0.04, text, transform=left.transAxes, va="bottom")
    keep = _thin(n)
    right.plot(rank[keep], total[keep], color=PALETTE[0], label="share")
    right.set(xscale="log", ylim=(0, 1.04), xlabel=f"the first … {ids}")
    right.set_ylabel(f"their share of all {events}")
    plain_axis(right.xaxis)
    plain_axis(right.yaxis, lambda y, _: f"{y:.0%}")

    def reaching(share: float) -> int:
        return int(np.searchsorted(total, share - 1e-12)) + 1

    for share in shares:
        first = reaching(share)
        at = first, float(total[first - 1])
        right.plot(*at, "o", color=PALETTE[3], ms=6)
        right.plot([1, first, first], [share, share, 0], color=FAINT, lw=0.9, ls=":")
        text = f"{share:.0%}: {first:,} {ids}"
        note(right, text, at, (-8, 4), ha="right", va="bottom", fontsize=9.5)
    right.set_title(f"{reaching(0.5) / n:.1%} of the {ids} take half")
    return figure


def _thin(n: int) -> np.ndarray:
    """Indices to draw: all of few, else evenly spread on a log scale, both ends included."""
    if n <= _MOST_POINTS:
        return np.arange(n)
    return np.unique(np.geomspace(1, n, _MOST_POINTS).round().astype(np.int64)) - 1


@themed()
def multiplier_by_popularity(emb: Any, counts: np.ndarray, before: Any = None) -> Figure:
    """MEmCom's learned multiplier of each id, against how often the id was seen.

    Args:
        emb: A MEmCom layer, or its multipliers ``(num_embeddings,)``.
        counts: Training count of each id ``(num_embeddings,)``; ids never seen are left out.
        before: The layer (or its multipliers) before training; drawn as hollow points.

    Returns:
        The figure: points, and median with the middle 80 % of ids in bands of popularity.

    Raises:
        ValueError: The lengths differ or no id was seen.
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
    many = len(seen) > 3000
    look: Any
    points: Any = {"ls": "", "marker": "o", "rasterized": many}
    figure, (ax,) = new_figure(7.2, 4.4)
    if start is not None:
        look = {"ms": 3 if many else 4.5, "mfc": "none", "mec": FAINT, "mew": 0.7}
        ax.plot(counts[seen], start[seen], **points, **look, label="before training")
    look = {"ms": 2.2 if many else 4, "mfc": method_style("memcom").color, "mec": "none"}
    look["alpha"] = 0.25 if many else 0.5
    ax.plot(counts[seen], after[seen], **points, **look, label="one id, after training")
    _bands(ax, counts[seen], after[seen])
    ax.axhline(0, color=FAINT, lw=0.8)
    ax.set(xscale="log", xlabel="how often the id occurs in training", ylabel="multiplier")
    plain_axis(ax.xaxis)
    ax.set_title("What each id's own weight learned")
    for handle in legend_below(ax, 4, markerscale=1.4).legend_handles:
        handle.set_alpha(1)
    return figure


def _scalars(source: Any) -> np.ndarray:
    if hasattr(source, "num_embeddings"):
        return multipliers(source)
    return np.asarray(source, dtype=np.float64).reshape(-1)


def _bands(ax: Axes, counts: np.ndarray, values: np.ndarray) -> None:
    """Draw median and 10-90 % of the values in bands of popularity of a factor of two."""
    band = np.floor(np.log2(counts)).astype(np.int64)
    bands = [b for b in np.unique(band) if (band == b).sum() >= 5]
    if len(bands) < 2:
        return
    import seaborn as sns

    kept = np.isin(band, bands)
    centre = {b: np.exp(np.log(counts[band == b]).mean()) for b in bands}
    sns.lineplot(
        x=[centre[b] for b in band[kept]],
        y=values[kept],
        estimator="median",
        errorbar=("pi", 80),  # percentiles: 10 to 90
        err_kws={"label": "middle 80 %", "alpha": 0.3, "lw": 0},
        color=_DARK_BLUE,
        **{"lw": 2.4, "marker": "D", "ms": 5, "mec": "none", "label": "median"},
        legend=False,
        ax=ax,
    )
