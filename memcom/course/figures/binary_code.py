"""Binary codes: the bits of a few ids cut into blocks, and the steps in which the tables shrink."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memcom.addresses import binary_code_digits
from memcom.embeddings import BinaryCodeEmbedding
from memcom.embeddings.bch import code_bits
from memcom.plots.theme import FAINT, INK, PALETTE, method_style, new_figure, plain_axis, themed

_SHOWN = 4  # blocks whose row numbers fit beside the bits
_COLORS = [PALETTE[k] for k in (9, 1, 2, 4, 8, 5)]


def _layer(n: int, e: int, t: int, strategy: str, shared: bool) -> BinaryCodeEmbedding:
    """A layer without storage, whose sizes are asked."""
    bits = min(t, code_bits(n, None))
    return BinaryCodeEmbedding(
        n, e, block_bits=bits, strategy=strategy, shared=shared, device="meta"
    )


def _ratio(emb: BinaryCodeEmbedding) -> str:
    """The compression ratio, with a decimal where it matters."""
    ratio = emb.compression_ratio
    return f"{ratio:,.1f}" if ratio < 100 else f"{ratio:,.0f}"


@lru_cache(maxsize=256)
def distinct_vectors(num_embeddings: int, block_bits: int, strategy: str, shared: bool) -> int:
    """Count the vectors that a sum of rows can tell apart, by looking at every id.

    Args:
        num_embeddings: Number of ids, n.
        block_bits: Bits of a block; more than the code has count as all of them.
        strategy: ``"succession"`` or ``"skip"``.
        shared: One table for all blocks, so that their order is lost, instead of one each.

    Returns:
        An exact number, n at most: ids that read the same rows count once.
    """
    length = code_bits(num_embeddings, None)
    bits = min(block_bits, length)
    ids = torch.arange(num_embeddings)
    rows = torch.stack(
        [digit(ids) for digit in binary_code_digits(length, bits, strategy=strategy)]
    )
    if shared:
        rows = rows.sort(dim=0).values
    places = torch.arange(len(rows)).mul_(bits).unsqueeze(1)
    return len(np.unique((rows << places).sum(0).numpy()))


def code_strips(
    num_embeddings: int,
    block_bits: int,
    strategy: str = "succession",
    shared: bool = False,
    *,
    embedding_dim: int = 64,
) -> Figure:
    """The bits of six ids in the colours of their blocks, with the rows that are read.

    Args:
        num_embeddings: Number of ids, n, at least 2.
        block_bits: Bits of a block; more than the code has count as all of them.
        strategy: ``"succession"`` or ``"skip"``.
        shared: One table for all blocks instead of one each.
        embedding_dim: Width of the vectors.

    Returns:
        The figure.
    """
    emb = _layer(num_embeddings, embedding_dim, block_bits, strategy, shared)
    length, digits = emb.code_bits, emb.digits()
    swapped = 2**emb.block_bits  # id 1 with its two lowest blocks exchanged, if in succession
    chosen = {0, 1, 2, swapped, num_embeddings // 2, num_embeddings - 1}
    ids = sorted(i for i in chosen if i < num_embeddings)
    rows = np.stack([digit(torch.tensor(ids)).numpy() for digit in digits], axis=1)
    with themed():
        figure, (ax,) = new_figure(9.6, 1.6 + 0.42 * len(ids))
        block_of = _bits(ax, ids, length, len(digits), emb.block_bits, strategy)
        shown = _rows(ax, ids, rows, length, shared)
        for column, block in enumerate(block_of):
            ax.text(length - 1 - column, -0.95, f"{block}", ha="center", va="center", fontsize=9)
        ax.text(-0.8, -0.95, "block", ha="right", va="center", fontsize=9)
        for y, i in enumerate(ids):
            ax.text(-0.8, y, f"id {i:,}", ha="right", va="center")
        ax.set(
            xlim=(-4.8, max(length + 2.2 * shown + 4.5, 25)),
            ylim=(len(ids) - 0.4, -1.5),
            xticks=[],
            yticks=[],
        )
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        stored = sum(len(table) for table in emb.tables)
        ax.set_title(
            f"{length} bits in {len(digits)} blocks: {stored:,} rows for {num_embeddings:,} ids, "
            f"{_ratio(emb)}×"
        )
    return figure


def _bits(
    ax: Axes, ids: list[int], length: int, blocks: int, block_bits: int, strategy: str
) -> list[int]:
    """Draw the bits, most significant first; return the block of each bit, least first."""
    skip = strategy == "skip"
    block_of = [p % blocks if skip else p // block_bits for p in range(length)]
    for y, i in enumerate(ids):
        for p, block in enumerate(block_of):
            x, bit = length - 1 - p, i >> p & 1
            color = _COLORS[block % len(_COLORS)]
            ax.add_patch(
                Rectangle(
                    (x - 0.45, y - 0.4),
                    *(0.9, 0.8),
                    facecolor=color,
                    edgecolor=INK if bit else "white",
                    alpha=1 if bit else 0.35,
                    linewidth=1.2,
                )
            )
            ax.text(
                x, y, f"{bit}", ha="center", va="center", fontweight="bold" if bit else "normal"
            )
    return block_of


def _rows(ax: Axes, ids: list[int], rows: np.ndarray, length: int, shared: bool) -> int:
    """Write the rows each id reads, and who reads the same; return how many blocks have room."""
    shown = min(rows.shape[1], _SHOWN)
    for block in range(shown):
        x = length + 0.9 + 2.2 * block
        name = "T" if shared else f"T{block}"
        ax.text(x, -0.95, name, ha="center", va="center", fontweight="bold", fontsize=9.5)
        for y in range(len(ids)):
            ax.text(
                *(x, y, f"{rows[y, block]:,}"),
                ha="center",
                va="center",
                bbox={
                    "boxstyle": "round,pad=0.2",
                    "fc": _COLORS[block % len(_COLORS)],
                    "ec": FAINT,
                    "alpha": 0.4,
                },
            )
    x = length + 0.3 + 2.2 * shown
    if shown < rows.shape[1]:
        ax.text(x, -0.95, "…", fontweight="bold")
    keys = [tuple(sorted(row)) if shared else tuple(row) for row in rows.tolist()]
    for y, key in enumerate(keys):
        if keys.index(key) < y:
            ax.text(x + 0.8, y, f"= id {ids[keys.index(key)]:,}", va="center", fontweight="bold")
    return shown


def describe_code_strips(
    num_embeddings: int,
    block_bits: int,
    strategy: str = "succession",
    shared: bool = False,
    *,
    embedding_dim: int = 64,
) -> str:
    """The numbers of `code_strips`, whose arguments it takes, in a few sentences."""
    emb = _layer(num_embeddings, embedding_dim, block_bits, strategy, shared)
    sizes = [len(table) for table in emb.tables]
    found = distinct_vectors(num_embeddings, emb.block_bits, strategy, shared)
    rows = " + ".join(f"{size:,}" for size in sizes[:6]) + (" + …" if len(sizes) > 6 else "")
    total = f" = {sum(sizes):,}" if len(sizes) > 1 else ""
    same = "each has its own." if found == num_embeddings else f"they share {found:,} vectors."
    return (
        f"{emb.code_bits} bits, {strategy}, in {len(emb.digits())} blocks of at most "
        f"{emb.block_bits}: {rows}{total} rows, {emb.nbytes:,} bytes, ratio "
        f"{_ratio(emb)}. Summed, {num_embeddings:,} ids read {found:,} different "
        f"combinations of rows: {same}"
    )


def code_steps(num_embeddings: int, embedding_dim: int = 64) -> Figure:
    """Compression ratio against the length of a block: the only ratios there are.

    Args:
        num_embeddings: Number of ids, n, at least 2.
        embedding_dim: Width of the vectors.

    Returns:
        The figure.
    """
    lengths = range(1, code_bits(num_embeddings, None) + 1)
    look = method_style("bch")
    with themed():
        figure, (ax,) = new_figure(7.2, 4.2)
        for shared, marker, dash, label in (
            (False, "^", "-", "a table for each block"),
            (True, "o", "--", "one table for all (sums are not unique)"),
        ):
            ratios = [
                _layer(num_embeddings, embedding_dim, t, "succession", shared).compression_ratio
                for t in lengths
            ]
            ax.plot(lengths, ratios, marker + dash, color=look.color, label=label,
                    markerfacecolor="white" if shared else look.color)  # fmt: skip
        style = method_style("memcom")
        ax.axhline(embedding_dim, color=style.color, ls=":")
        ax.annotate(
            f"MEmCom stays below {embedding_dim}×",
            (lengths[-1], embedding_dim),
            xytext=(0, 5),
            textcoords="offset points",
            ha="right",
            color=style.color,
        )
        ax.set(yscale="log", xlabel="bits of a block", ylabel="compression ratio")
        ax.set_xticks(lengths)
        plain_axis(ax.yaxis)
        ax.set_title(f"{num_embeddings:,} ids: a ratio for every length, none between")
        ax.legend(loc="upper right", bbox_to_anchor=(1, 1))
    return figure
