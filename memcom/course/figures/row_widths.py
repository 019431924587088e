"""Widths of rows against popularity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from memcom.course.figures._shared import legend_below, note
from memcom.embeddings._allocation import allocate, power_law
from memcom.plots.theme import FAINT, INK, PALETTE, method_style, new_figure, plain_axis, themed

_BANDS = 12


@themed()
def widths_by_popularity(widths: Mapping[str, np.ndarray], counts: np.ndarray) -> Figure:
    """Mean width of a row in bands of popularity, one line a method.

    Args:
        widths: By method name: numbers that each id keeps, ``(n,)``.
        counts: Training count of each id, ``(n,)``; ids never seen form the band at 0.5.

    Returns:
        The figure.

    Raises:
        ValueError: There is no method, or a length differs.
    """
    counts = np.asarray(counts)
    if not widths or any(np.shape(kept) != counts.shape for kept in widths.values()):
        raise ValueError(f"widths must hold at least one method, each of shape {counts.shape}")
    edges = np.unique(np.geomspace(1, counts.max() + 1, _BANDS).round())
    band = np.digitize(counts, edges)  # 0: never seen
    present = np.unique(band)
    where = [np.median(counts[band == b]) if b else 0.5 for b in present]
    figure, (ax,) = new_figure(7.2, 4.4)
    for name, kept in widths.items():
        style = method_style(name)
        mean = [np.asarray(kept)[band == b].mean() for b in present]
        ax.plot(where, mean, **style.line(), label=style.label)
    ax.set(xscale="log", xlabel="how often the id occurs in training (0.5: never)")
    ax.set_ylabel("numbers kept, mean")
    ax.set_ylim(bottom=0)
    plain_axis(ax.xaxis)
    ax.set_title("Who gets how many numbers")
    legend_below(ax, 3)
    return figure


@themed()
def width_rule(num_embeddings: int, embedding_dim: int, ratio: float, alpha: float) -> Figure:
    """Widths that the power rule gives: in proportion to rank^-alpha, clipped, within a budget.

    Args:
        num_embeddings: Number of ids, by descending frequency.
        embedding_dim: The widest a row may be.
        ratio: Numbers of the full table over numbers given away.
        alpha: Exponent; 0 gives equal widths.

    Returns:
        The figure.
    """
    widths = _widths(num_embeddings, embedding_dim, ratio, alpha)
    equal = embedding_dim / ratio
    figure, (ax,) = new_figure(7.2, 4.0)
    rank = np.arange(1, num_embeddings + 1)
    ax.fill_between(rank, widths, step="mid", fc=PALETTE[9], ec=PALETTE[0], lw=1.2)
    ax.axhline(equal, color=INK, lw=1.2, ls="--")
    white = {"fc": "white", "ec": "none", "pad": 1}
    note(ax, f"equal widths: {equal:g}", (1, equal), (4, 4), bbox=white)
    ax.axhline(embedding_dim, color=FAINT, lw=0.8)
    ax.set(xscale="log", xlim=(1, num_embeddings), ylim=(0, embedding_dim * 1.05))
    ax.set(xlabel="rank of the id, most frequent first", ylabel="numbers it gets")
    plain_axis(ax.xaxis)
    ax.set_title("A budget shared out by popularity")
    return figure


def describe_width_rule(num_embeddings: int, embedding_dim: int, ratio: float, alpha: float) -> str:
    """Text alternative of `width_rule`, whose arguments it takes."""
    widths = _widths(num_embeddings, embedding_dim, ratio, alpha)
    return (
        f"{widths.sum():,} numbers for {num_embeddings:,} ids: the most frequent gets "
        f"{widths[0]}, the one in the middle {widths[num_embeddings // 2]}, the rarest "
        f"{widths[-1]}. {(widths == embedding_dim).sum():,} ids have all {embedding_dim}, "
        f"{(widths == 0).sum():,} have none and are zero."
    )


def _widths(num_embeddings: int, embedding_dim: int, ratio: float, alpha: float) -> np.ndarray:
    budget = int(num_embeddings * embedding_dim / ratio)
    return np.asarray(allocate(power_law(num_embeddings, alpha), embedding_dim, budget))
