"""Where MEmCom's bytes go: shared rows against the numbers every id keeps for itself."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from memcom.plots.theme import FAINT, INK, PALETTE, new_figure, plain_axis, themed

_PARTS = (
    ("shared rows", PALETTE[9], ""),
    ("multipliers", PALETTE[0], "////"),
    ("biases", PALETTE[1], "...."),
)


def memcom_shares(embedding_dim: int, bias: bool, ratios: np.ndarray) -> np.ndarray:
    """Share of a MEmCom budget that shared rows, multipliers and biases take.

    At ratio r the budget is n e / r numbers, of which every id takes 1 (bias: 2); so a multiplier
    costs r / e of the budget, however many ids there are.

    Args:
        embedding_dim: Width of the vectors, e.
        bias: Whether every id has a bias too.
        ratios: Compression ratios, ``(k,)``.

    Returns:
        ``(3, k)``; a column is 0, 0, 0 where the method cannot be that small.
    """
    own = np.asarray(ratios, dtype=float) / embedding_dim
    rows = 1 - own * (2 if bias else 1)
    return np.where(rows > 0, np.stack([rows, own, own * bias]), 0.0)


def memcom_budget(num_embeddings: int, embedding_dim: int, ratio: float, bias: bool) -> Figure:
    """How a MEmCom budget divides, over all ratios, with one ratio marked.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        ratio: The compression ratio to mark.
        bias: Whether every id has a bias too.

    Returns:
        The figure.
    """
    ceiling = embedding_dim / (2 if bias else 1)
    ratios = np.geomspace(1, ceiling, 200)
    shares = memcom_shares(embedding_dim, bias, ratios * (1 - 1e-9))
    rows = int(num_embeddings * (1 / ratio - 1 / ceiling))
    with themed():
        figure, (ax,) = new_figure(7.2, 4.0)
        bottom = np.zeros(len(ratios))
        for (label, color, hatch), share in zip(_PARTS, shares, strict=True):
            if share.any():
                top = bottom + share
                ax.fill_between(
                    ratios, bottom, top, fc=color, hatch=hatch, ec="white", lw=0, label=label
                )
                bottom = top
        ax.axvline(ratio, color=INK, lw=1.6)
        possible = ratio < ceiling
        text = f"{ratio:g}×: {rows:,} rows" if possible else f"{ratio:g}× is out of reach"
        left = ratio > 6
        ax.annotate(
            text,
            (ratio, 0.06),
            xytext=(-6 if left else 6, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            bbox={"fc": "white", "ec": "none", "pad": 2},
        )
        ax.axvspan(ceiling, 256, color=FAINT, alpha=0.25, lw=0)
        ax.annotate(
            f"ceiling {ceiling:g}×",
            (ceiling, 0.5),
            xytext=(5, 0),
            textcoords="offset points",
            rotation=90,
            va="center",
        )
        ax.set(xscale="log", xlim=(1, 256), ylim=(0, 1), xlabel="compression ratio")
        ax.set_xscale("log", base=2)
        ax.set_ylabel("share of the bytes")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        plain_axis(ax.xaxis)
        ax.set_title("What is private takes over as the table shrinks")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
        ax.grid(False)
    return figure


def describe_memcom_budget(
    num_embeddings: int, embedding_dim: int, ratio: float, bias: bool
) -> str:
    """The numbers of `memcom_budget` in words.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        ratio: The compression ratio that is marked.
        bias: Whether every id has a bias too.

    Returns:
        One or two sentences.
    """
    own = 2 if bias else 1
    ceiling = embedding_dim / own
    full = 4 * num_embeddings * embedding_dim
    head = f"{num_embeddings:,} ids of width {embedding_dim}: the full table takes {full:,} bytes. "
    if ratio >= ceiling:
        return head + f"A ratio of {ratio:g} is out of reach: the ceiling is {ceiling:g}."
    rows = int(num_embeddings * (1 / ratio - 1 / ceiling))
    hashed = int(num_embeddings / ratio)
    stored = 4 * (rows * embedding_dim + own * num_embeddings)
    return head + (
        f"At {ratio:g}x MEmCom has {rows:,} shared rows ({stored:,} bytes), about "
        f"{num_embeddings / max(rows, 1):,.0f} ids to a row; plain hashing would have {hashed:,}."
    )
