"""Hash functions side by side: how many pairs of ids collide, and how much that matters.

Counting pairs treats every id alike. Weighing by popularity asks which share of the interactions
belongs to an id that has a more popular one in its row. The two disagree: the plain remainder
collides as often as a random hash, but on ids sorted by popularity it keeps the popular apart.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from memcom.budget import build
from memcom.collisions import codes, expected_collisions
from memcom.course.figures._shared import num_pairs
from memcom.plots.theme import (
    INK,
    PALETTE,
    MethodStyle,
    method_style,
    new_figure,
    plain_axis,
    themed,
)

BUCKETS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Numbers of rows that are drawn."""

HASHES = {
    name: MethodStyle(name, color, marker, fill, dash)
    for name, color, marker, fill, dash in (
        ("random hash", method_style("hash").color, "D", "full", "-"),
        ("remainder, sorted ids", PALETTE[0], "o", "full", "-"),
        ("remainder, shuffled ids", PALETTE[0], "o", "none", "--"),
        ("two random hashes", PALETTE[2], "^", "full", "-."),
    )
}
"""Look of each way to pick rows, by its name."""


@lru_cache(maxsize=64)
def hash_codes(hash: str, num_buckets: int, num_embeddings: int) -> np.ndarray:
    """Number of the row, or pair of rows, that each id reads.

    Args:
        hash: One of `HASHES`.
        num_buckets: Rows of the table.
        num_embeddings: Number of ids; id 0 is the most popular.

    Returns:
        ``(num_embeddings,)`` int64, equal exactly where ids cannot be told apart. Read-only.

    Raises:
        ValueError: There is no such hash.
    """
    if hash not in HASHES:
        raise ValueError(f"hash must be one of {', '.join(HASHES)}, got {hash!r}")
    method = "double-hash" if hash == "two random hashes" else "hash"
    options = {"seed": None} if hash.startswith("remainder") else {}
    with torch.random.fork_rng(devices=[]):
        found = codes(build(method, num_embeddings, 1, num_buckets=num_buckets, **options))
    if hash == "remainder, shuffled ids":
        found = found[np.random.default_rng(0).permutation(num_embeddings)]
    found.setflags(write=False)
    return found


def hidden_share(code: np.ndarray, counts: np.ndarray) -> float:
    """Share of the interactions whose id has a more popular one with the same code.

    Args:
        code: ``(num_embeddings,)`` codes.
        counts: ``(num_embeddings,)`` popularity, never increasing.

    Returns:
        A number in [0, 1).
    """
    first = np.unique(code, return_index=True)[1]  # ids are sorted: the first is the most popular
    return 1 - float(counts[first].sum() / counts.sum())


@lru_cache(maxsize=256)
def _curve(hash: str, num_embeddings: int, exponent: float) -> tuple[list[int], list[float]]:
    popularity = np.arange(1, num_embeddings + 1, dtype=np.float64) ** -exponent
    every = [hash_codes(hash, m, num_embeddings) for m in BUCKETS]
    return [num_pairs(c) for c in every], [hidden_share(c, popularity) for c in every]


@themed()
def hashing_explorer(
    num_buckets: int, hash: str, exponent: float, num_embeddings: int = 10_000
) -> Figure:
    """Colliding pairs, and the interactions behind a more popular id, over all table sizes.

    Args:
        num_buckets: One of `BUCKETS`, to be marked.
        hash: One of `HASHES`, to be marked.
        exponent: Popularity of the k-th id is k^-exponent; 0 makes all equally popular.
        num_embeddings: Number of ids.

    Returns:
        The figure.
    """
    place = BUCKETS.index(num_buckets)
    ring: Any = {"ls": "", "marker": "o", "ms": 15, "mfc": "none", "mec": INK, "mew": 1.6}
    figure, (left, right) = new_figure(9.2, 4.5, 2)
    chance = [expected_collisions(num_embeddings, m).pairs for m in BUCKETS]
    left.plot(BUCKETS, chance, color=INK, lw=1, ls=":", label="expected of one random hash")
    for name, style in HASHES.items():
        pairs, hidden = _curve(name, num_embeddings, exponent)
        look = {**style.line(), "ms": 5, "alpha": 1.0 if name == hash else 0.45}
        left.plot(BUCKETS, np.maximum(pairs, 0.5), label=name, **look)
        right.plot(BUCKETS, hidden, **look)
        if name == hash:
            left.plot([num_buckets], [max(pairs[place], 0.5)], **ring)
            right.plot([num_buckets], [hidden[place]], **ring)
    for ax in (left, right):
        ax.set_xscale("log", base=2)
        ax.set_xlabel("rows of the table")
        plain_axis(ax.xaxis, lambda x, _: f"{x:,.0f}")
    left.set(yscale="log", ylabel="pairs of ids")
    plain_axis(left.yaxis)
    left.set_title("Pairs that cannot be told apart")
    right.set(ylim=(-0.02, 1.02), ylabel="share of the interactions")
    plain_axis(right.yaxis, lambda y, _: f"{y:.0%}")
    right.set_title("Behind a more popular id")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def describe_hashing_explorer(
    num_buckets: int, hash: str, exponent: float, num_embeddings: int = 10_000
) -> str:
    """Text alternative of `hashing_explorer`, whose arguments it takes."""
    place = BUCKETS.index(num_buckets)
    pairs, hidden = _curve(hash, num_embeddings, exponent)
    chance = expected_collisions(num_embeddings, num_buckets).pairs
    shares = ", ".join(
        f"{name} {_curve(name, num_embeddings, exponent)[1][place]:.1%}"
        for name in HASHES
        if name != hash
    )
    return (
        f"{num_embeddings:,} ids in {num_buckets:,} rows by {hash}: {pairs[place]:,} pairs cannot "
        f"be told apart (one random hash: {chance:,.0f} expected). With popularity k^-{exponent:g} "
        f"{hidden[place]:.1%} of the interactions belong to an id behind a more popular one "
        f"({shares})."
    )
