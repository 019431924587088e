"""Picture of MEmCom's bytes: shared rows against the numbers that each id keeps for itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from memcom.course.figures._shared import legend_below, note
from memcom.plots.theme import FAINT, INK, PALETTE, new_figure, plain_axis, themed

_PARTS = (
    ("shared rows", PALETTE[9], ""),
    ("multipliers", PALETTE[0], "////"),
    ("biases", PALETTE[1], "...."),
)


def memcom_shares(embedding_dim: int, bias: bool, ratios: np.ndarray) -> np.ndarray:
    """Shares of a MEmCom budget that shared rows, multipliers and biases take.

    At ratio r the budget is n e / r numbers, of which every id takes 1 (bias: 2); so a multiplier
    costs r / e of the budget, however many ids there are.

    Args:
        embedding_dim: Width of the vectors, e.
        bias: Give every id a bias too.
        ratios: Compression ratios, ``(k,)``.

    Returns:
        ``(3, k)``; a column is 0, 0, 0 where the method cannot be that small.
    """
    own = np.asarray(ratios, dtype=float) / embedding_dim
    rows = 1 - own * (2 if bias else 1)
    return np.where(rows > 0, np.stack([rows, own, own * bias]), 0.0)


def _shared_rows(num_embeddings: int, ratio: float, ceiling: float) -> int:
    return int(num_embeddings * (1 / ratio - 1 / ceiling))


@themed()
def memcom_budget(num_embeddings: int, embedding_dim: int, ratio: float, bias: bool) -> Figure:
    """Division of a MEmCom budget over all ratios, with one ratio marked.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        ratio: The compression ratio to mark.
        bias: Give every id a bias too.

    Returns:
        The figure.
    """
    ceiling = embedding_dim / (2 if bias else 1)
    ratios = np.geomspace(1, ceiling, 200)
    shares = memcom_shares(embedding_dim, bias, ratios * (1 - 1e-9))
    figure, (ax,) = new_figure(7.2, 4.0)
    tops = np.cumsum(shares, axis=0)
    for (label, color, hatch), share, top in zip(_PARTS, shares, tops, strict=True):
        if share.any():
            look: Any = {"fc": color, "hatch": hatch, "ec": "white", "lw": 0}
            ax.fill_between(ratios, top - share, top, label=label, **look)
    ax.axvline(ratio, color=INK, lw=1.6)
    text = f"{ratio:g}× is out of reach"
    if ratio < ceiling:
        text = f"{ratio:g}×: {_shared_rows(num_embeddings, ratio, ceiling):,} rows"
    side, offset = ("right", -6) if ratio > 6 else ("left", 6)
    note(
        ax, text, (ratio, 0.06), (offset, 0), ha=side, bbox={"fc": "white", "ec": "none", "pad": 2}
    )
    ax.axvspan(ceiling, 256, color=FAINT, alpha=0.25, lw=0)
    note(ax, f"ceiling {ceiling:g}×", (ceiling, 0.5), (5, 0), rotation=90, va="center")
    ax.set_xscale("log", base=2)
    ax.set(xlim=(1, 256), ylim=(0, 1), xlabel="compression ratio", ylabel="share of the bytes")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    plain_axis(ax.xaxis)
    ax.set_title("What is private takes over as the table shrinks")
    legend_below(ax, 3)
    ax.grid(False)
    return figure


def describe_memcom_budget(
    num_embeddings: int, embedding_dim: int, ratio: float, bias: bool
) -> str:
    """Text alternative of `memcom_budget`, whose arguments it takes."""
    own = 2 if bias else 1
    ceiling = embedding_dim / own
    full = 4 * num_embeddings * embedding_dim
    head = f"{num_embeddings:,} ids of width {embedding_dim}: the full table takes {full:,} bytes. "
    if ratio >= ceiling:
        return head + f"A ratio of {ratio:g} is out of reach: the ceiling is {ceiling:g}."
    rows = _shared_rows(num_embeddings, ratio, ceiling)
    stored = 4 * (rows * embedding_dim + own * num_embeddings)
    return head + (
        f"At {ratio:g}x MEmCom has {rows:,} shared rows ({stored:,} bytes), about "
        f"{num_embeddings / max(rows, 1):,.0f} ids to a row; plain hashing would have "
        f"{int(num_embeddings / ratio):,}."
    )
