"""Binary codes: the bits of a few ids cut into blocks, and the steps in which the tables shrink."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memcom.addresses import binary_code_digits
from memcom.course.figures._shared import note, without_frame
from memcom.embeddings import BinaryCodeEmbedding
from memcom.plots.theme import FAINT, INK, PALETTE, method_style, new_figure, plain_axis, themed

_SHOWN = 4  # blocks whose row numbers fit beside the bits
_COLORS = [PALETTE[k] for k in (9, 1, 2, 4, 8, 5)]


def _length(num_embeddings: int) -> int:
    """Return the bits of the largest id."""
    return max(1, (num_embeddings - 1).bit_length())


def _layer(n: int, e: int, t: int, strategy: str, shared: bool) -> BinaryCodeEmbedding:
    """Build a layer without storage, to ask it for sizes."""
    bits = min(t, _length(n))
    return BinaryCodeEmbedding(
        n, e, block_bits=bits, strategy=strategy, shared=shared, device="meta"
    )


def _ratio(emb: BinaryCodeEmbedding) -> str:
    """Write the compression ratio, with a decimal where it matters."""
    ratio = emb.compression_ratio
    return f"{ratio:,.1f}" if ratio < 100 else f"{ratio:,.0f}"


@lru_cache(maxsize=256)
def distinct_vectors(num_embeddings: int, block_bits: int, strategy: str, shared: bool) -> int:
    """Number of vectors that a sum of rows can tell apart, counted over all ids.

    Args:
        num_embeddings: Number of ids, n.
        block_bits: Bits of a block; more than the code has count as all of them.
        strategy: ``"succession"`` or ``"skip"``.
        shared: One table for all blocks, so that their order is lost, instead of one each.

    Returns:
        An exact number, n at most: ids that read the same rows count once.
    """
    length = _length(num_embeddings)
    bits = min(block_bits, length)
    ids = torch.arange(num_embeddings)
    rows = torch.stack(
        [digit(ids) for digit in binary_code_digits(length, bits, strategy=strategy)]
    )
    if shared:
        rows = rows.sort(dim=0).values
    places = torch.arange(len(rows)).mul_(bits).unsqueeze(1)
    return len(np.unique((rows << places).sum(0).numpy()))


@themed()
def code_strips(
    num_embeddings: int,
    block_bits: int,
    strategy: str = "succession",
    shared: bool = False,
    *,
    embedding_dim: int = 64,
) -> Figure:
    """Bits of six ids in the colours of their blocks, with the rows that are read.

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
    bits = range(length)
    block_of = [p % len(digits) if strategy == "skip" else p // emb.block_bits for p in bits]
    figure, (ax,) = new_figure(9.6, 1.6 + 0.42 * len(ids))
    _bits(ax, ids, block_of)
    shown = _rows(ax, ids, rows, length, shared)
    right = max(length + 2.2 * shown + 4.5, 25)
    ax.set(xlim=(-4.8, right), ylim=(len(ids) - 0.4, -1.5), xticks=[], yticks=[])
    without_frame(ax)
    stored = sum(len(table) for table in emb.tables)
    ax.set_title(
        f"{length} bits in {len(digits)} blocks: {stored:,} rows for {num_embeddings:,} ids, "
        f"{_ratio(emb)}×"
    )
    return figure


def _bits(ax: Axes, ids: list[int], block_of: list[int]) -> None:
    """Draw the bits of the ids, most significant first; `block_of` begins with the least."""
    middle: Any = {"ha": "center", "va": "center"}
    ax.text(-0.8, -0.95, "block", ha="right", va="center", fontsize=9)
    for y, i in enumerate(ids):
        ax.text(-0.8, y, f"id {i:,}", ha="right", va="center")
    for p, block in enumerate(block_of):
        x, color = len(block_of) - 1 - p, _COLORS[block % len(_COLORS)]
        ax.text(x, -0.95, f"{block}", fontsize=9, **middle)
        for y, i in enumerate(ids):
            bit = i >> p & 1
            edge, alpha = (INK, 1.0) if bit else ("white", 0.35)
            look: Any = {"facecolor": color, "edgecolor": edge, "alpha": alpha, "linewidth": 1.2}
            ax.add_patch(Rectangle((x - 0.45, y - 0.4), 0.9, 0.8, **look))
            ax.text(x, y, f"{bit}", fontweight="bold" if bit else "normal", **middle)


def _rows(ax: Axes, ids: list[int], rows: np.ndarray, length: int, shared: bool) -> int:
    """Write the rows that each id reads and which ids agree; return the number of blocks shown."""
    shown = min(rows.shape[1], _SHOWN)
    middle: Any = {"ha": "center", "va": "center"}
    for block in range(shown):
        x = length + 0.9 + 2.2 * block
        name = "T" if shared else f"T{block}"
        ax.text(x, -0.95, name, fontweight="bold", fontsize=9.5, **middle)
        color = _COLORS[block % len(_COLORS)]
        box = {"boxstyle": "round,pad=0.2", "fc": color, "ec": FAINT, "alpha": 0.4}
        for y in range(len(ids)):
            ax.text(x, y, f"{rows[y, block]:,}", bbox=box, **middle)
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
    """Text alternative of `code_strips`, whose arguments it takes."""
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


@themed()
def code_steps(num_embeddings: int, embedding_dim: int = 64) -> Figure:
    """Compression ratio against the length of a block: the only ratios there are.

    Args:
        num_embeddings: Number of ids, n, at least 2.
        embedding_dim: Width of the vectors.

    Returns:
        The figure.
    """
    lengths = range(1, _length(num_embeddings) + 1)
    color = method_style("bch").color
    figure, (ax,) = new_figure(7.2, 4.2)
    for shared, line, fill, label in (
        (False, "^-", color, "a table for each block"),
        (True, "o--", "white", "one table for all (sums are not unique)"),
    ):
        layers = [_layer(num_embeddings, embedding_dim, t, "succession", shared) for t in lengths]
        ratios = [layer.compression_ratio for layer in layers]
        ax.plot(lengths, ratios, line, color=color, label=label, markerfacecolor=fill)
    color = method_style("memcom").color
    ax.axhline(embedding_dim, color=color, ls=":")
    text = f"MEmCom stays below {embedding_dim}×"
    note(ax, text, (lengths[-1], embedding_dim), (0, 5), ha="right", color=color)
    ax.set(yscale="log", xlabel="bits of a block", ylabel="compression ratio")
    ax.set_xticks(lengths)
    plain_axis(ax.yaxis)
    ax.set_title(f"{num_embeddings:,} ids: a ratio for every length, none between")
    ax.legend(loc="upper right", bbox_to_anchor=(1, 1))
    return figure
