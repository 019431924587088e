"""Quotient-remainder as a grid: a column per remainder, a row per quotient, ids in the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memcom.course.figures._shared import legend_below, without_frame
from memcom.embeddings import QREmbedding
from memcom.plots.theme import FAINT, INK, PALETTE, new_figure, plain_axis, short_number, themed

SYMBOLS = {"mult": "×", "add": "+", "concat": "beside"}
_SMALL = 16  # grids of at most this many columns and rows show every id
_REMAINDER, _QUOTIENT = PALETTE[9], PALETTE[1]


def qr_sizes(
    num_embeddings: int, num_remainders: int, operation: str = "mult", embedding_dim: int = 64
) -> tuple[int, int, int]:
    """Rows of the two tables and bytes of both, as `QREmbedding` stores them.

    Args:
        num_embeddings: Number of ids, n.
        num_remainders: Rows of the remainder table; more than n count as n.
        operation: ``"mult"``, ``"add"`` or ``"concat"``.
        embedding_dim: Width of the composed vectors.

    Returns:
        Remainder rows, quotient rows, bytes in fp32.
    """
    emb = QREmbedding(
        num_embeddings,
        embedding_dim,
        num_remainders=min(num_remainders, num_embeddings),
        operation=operation,
        device="meta",
    )
    return emb.num_remainders, emb.num_quotients, emb.nbytes


@themed()
def qr_grid(
    num_embeddings: int,
    num_remainders: int,
    operation: str = "mult",
    *,
    embedding_dim: int = 64,
    id: int = 13,
) -> Figure:
    """Ids on the grid of remainder by quotient, and the bytes of every other way to split.

    Args:
        num_embeddings: Number of ids, n.
        num_remainders: Rows of the remainder table; more than n count as n.
        operation: ``"mult"``, ``"add"`` or ``"concat"``.
        embedding_dim: Width of the composed vectors.
        id: The id whose two rows are marked; the last id if there is no such.

    Returns:
        The figure.
    """
    m, q, nbytes = qr_sizes(num_embeddings, num_remainders, operation, embedding_dim)
    id = min(id, num_embeddings - 1)
    figure, (grid, curve) = new_figure(9.6, 4.3, 2, width_ratios=(1.25, 1))
    draw = _cells if max(m, q) <= _SMALL else _field
    draw(grid, num_embeddings, m, q, id)
    grid.set_title(f"id {id:,} = R[{id % m:,}] {SYMBOLS[operation]} Q[{id // m:,}]")
    grid.set(xlabel="remainder: row of R", ylabel="quotient: row of Q")
    grid.xaxis.set_label_position("top")
    without_frame(grid)
    _sizes(curve, num_embeddings, m, operation, embedding_dim, nbytes)
    return figure


def _cells(ax: Axes, n: int, m: int, q: int, id: int) -> None:
    """Draw every id in its cell, the rows it reads above and beside."""
    size = 10.5 if max(m, q) <= 10 else 8
    remainder, quotient = id % m, id // m
    for x in range(m):
        _cell(ax, x, -1, f"R{x}", size, x == remainder, _REMAINDER, "///")
    for y in range(q):
        _cell(ax, -1, y, f"Q{y}", size, y == quotient, _QUOTIENT, "...")
    for i in range(n):
        _cell(ax, i % m, i // m, f"{i}", size, i == id)
    ax.set(xlim=(-1.6, m - 0.4), ylim=(q - 0.4, -1.6), xticks=[], yticks=[])


def _cell(
    ax: Axes, x: int, y: int, text: str, size: float, mine: bool, color: str = "", hatch: str = ""
) -> None:
    """Draw an id, or with a colour the head of a row or column; `mine` is framed."""
    ax.add_patch(
        Rectangle(
            (x - 0.46, y - 0.46),
            0.92,
            0.92,
            facecolor=color or "white",
            edgecolor=INK if mine else FAINT,
            linewidth=2.6 if mine else 0.6,
            hatch=hatch,
            alpha=0.6 if color and not mine else 1,
        )
    )
    weight = "bold" if mine or color else "normal"
    box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none"} if color else None
    ax.text(x, y, text, ha="center", va="center", fontsize=size, fontweight=weight, bbox=box)


def _field(ax: Axes, n: int, m: int, q: int, id: int) -> None:
    """Shade ids by popularity rank where they are too many to write, at most 200 by 200."""
    x = np.unique(np.linspace(0, m - 1, min(m, 200)).astype(np.int64))
    y = np.unique(np.linspace(0, q - 1, min(q, 200)).astype(np.int64))
    ids = (y[:, None] * m + x[None, :]).astype(float)
    ids[ids >= n] = np.nan
    picture = ax.imshow(
        np.log10(ids + 1),
        extent=(-0.5, m - 0.5, q - 0.5, -0.5),
        cmap="cividis_r",
        vmin=0,
        vmax=np.log10(n),
        aspect="auto",
        interpolation="nearest",
    )
    bar = ax.figure.colorbar(picture, ax=ax, shrink=0.85)
    powers = range(int(np.log10(n)) + 1)
    bar.set_ticks(list(powers), labels=[short_number(10**p) for p in powers])
    bar.set_label("id (0 is the most popular)")
    bar.outline.set_visible(False)
    column, row = id % m, id // m
    look: Any = {"color": _QUOTIENT, "clip_on": False}
    ax.plot([column, column, -0.5], [-0.5, row, row], lw=1.2, ls="--", **look)
    ax.plot(column, row, "o", mec=INK, ms=8, **look)
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.locator_params(nbins=5, integer=True)
    plain_axis(ax.xaxis)
    plain_axis(ax.yaxis)


def _sizes(ax: Axes, n: int, m: int, operation: str, embedding_dim: int, nbytes: int) -> None:
    """Draw bytes against the number of remainders: a valley, lowest at the square root."""
    splits = np.unique(np.geomspace(1, n, 200).round().astype(np.int64))
    row = 4 * embedding_dim * (0.5 if operation == "concat" else 1)
    ax.plot(splits, row * (splits - (-n // splits)), color=PALETTE[0], label="both tables")
    full = 4 * n * embedding_dim
    ax.axhline(full, color=INK, ls="--", lw=1.2, label="full table")
    ax.plot(m, nbytes, "o", color=_QUOTIENT, mec=INK, ms=9, label=f"{m:,} remainders")
    root = round(n**0.5)
    ax.axvline(root, color=FAINT, ls=":", lw=1.4, label=f"square root of {n:,}: {root:,}")
    steep = n > 400  # a valley of less than a decade would have no tick on a log scale
    ax.set(xscale="log", yscale="log" if steep else "linear", xlabel="remainders", ylabel="bytes")
    ax.set_ylim(bottom=None if steep else 0)
    ax.set_title(f"{nbytes:,} bytes, {full / nbytes:.1f}×")
    plain_axis(ax.xaxis)
    plain_axis(ax.yaxis)
    legend_below(ax, 2)


def describe_qr_grid(
    num_embeddings: int,
    num_remainders: int,
    operation: str = "mult",
    *,
    embedding_dim: int = 64,
    id: int = 13,
) -> str:
    """Text alternative of `qr_grid`, whose arguments it takes."""
    m, q, nbytes = qr_sizes(num_embeddings, num_remainders, operation, embedding_dim)
    id = min(id, num_embeddings - 1)
    full = 4 * num_embeddings * embedding_dim
    half = " of half the width" if operation == "concat" else ""
    return (
        f"{num_embeddings:,} ids on a grid of {m:,} remainders by {q:,} quotients: "
        f"{m + q:,} stored rows{half}, {nbytes:,} bytes instead of {full:,}, "
        f"ratio {full / nbytes:.1f}. Id {id:,} reads remainder row {id % m:,} and quotient row "
        f"{id // m:,}; no other id reads both."
    )
