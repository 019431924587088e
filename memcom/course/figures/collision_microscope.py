"""The collision microscope: in one layer, who shares with whom, and how popular they are.

`microscope` draws it for a method, a vocabulary and a budget; `describe_microscope` says the same
in words. Counts that depend on the layer alone are cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from memcom.collisions import CollisionReport, codes, report
from memcom.collisions.overlap import shared_reads
from memcom.course.figures._shared import frozen, out_of_reach, planned
from memcom.plots.theme import FAINT, INK, PALETTE, method_style, new_figure, themed

_FATES = (
    ("has a code of its own", PALETTE[9], ""),
    ("shares, and is the most popular", PALETTE[1], "...."),
    ("hidden behind a more popular one", PALETTE[3], "////"),
)
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Slide:
    """One layer under the microscope.

    Attributes:
        layer: The layer as it is stored, before any training.
        report: Counts that do not depend on popularity.
        code: `memcom.collisions.codes` of its ids.
    """

    layer: Any
    report: CollisionReport
    code: np.ndarray


@lru_cache(maxsize=48)
def slide(method: str, num_embeddings: int, embedding_dim: int, ratio: float) -> Slide | str:
    """Layer for a budget, with counts of what its ids share.

    Args:
        method: Registry name or spec, such as ``"hash(seed=None)"``.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        ratio: The budget, as a compression ratio; the full table is not held to it.

    Returns:
        The slide, or why the method cannot be that small.
    """
    found = planned(method, num_embeddings, embedding_dim, ratio=ratio)
    if isinstance(found, str):
        return found
    layer = frozen(found)
    return Slide(layer, report(layer), codes(layer))


def fates(code: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Fate of each id among those with its code.

    Args:
        code: ``(n,)``, from `memcom.collisions.codes`.
        counts: ``(n,)`` popularity; of equally popular ids the first wins.

    Returns:
        ``(n,)`` int64: 0 alone with its code, 1 the most popular of several, 2 hidden behind one.
    """
    order = np.lexsort((np.arange(len(code)), -np.asarray(counts), code))
    first = np.r_[True, code[order][1:] != code[order][:-1]]
    alone = first & np.r_[first[1:], True]
    fate = np.empty(len(code), np.int64)
    fate[order] = np.where(alone, 0, np.where(first, 1, 2))
    return fate


def ids_by_rank(vocabulary: int, shuffled: bool) -> np.ndarray:
    """Id of each popularity rank: the rank itself, or a fixed shuffle of the ids."""
    ranks = np.arange(vocabulary)
    return np.random.default_rng(0).permutation(ranks) if shuffled else ranks


def zipf_counts(vocabulary: int, total: float) -> np.ndarray:
    """Popularity by Zipf's law with exponent 1, most popular first, summing to ``total``."""
    weights = 1 / np.arange(1, vocabulary + 1)
    return total * weights / weights.sum()


def _weights(counts: np.ndarray, vocabulary: int, zipf: bool) -> np.ndarray:
    real = np.asarray(counts[:vocabulary], dtype=np.float64)
    return zipf_counts(vocabulary, real.sum()) if zipf else real


@themed()
def microscope(
    counts: np.ndarray,
    names: Sequence[str],
    *,
    method: str,
    vocabulary: int,
    ratio: float,
    rank: int,
    shuffled: bool = False,
    zipf: bool = False,
    embedding_dim: int = 64,
) -> Figure:
    """Collisions by popularity, and the items that share most with one item.

    Args:
        counts: Popularity of all items, most popular first.
        names: Names of the items.
        method: Registry name or spec.
        vocabulary: Number of items, from the most popular on, that get an id.
        ratio: The budget, as a compression ratio.
        rank: The item to look at, 0 for the most popular.
        shuffled: Give ids at random instead of by popularity.
        zipf: Take popularity from Zipf's law instead of `counts`.
        embedding_dim: Width of the vectors.

    Returns:
        The figure. Where the method cannot be that small it says so.
    """
    seen = slide(method, vocabulary, embedding_dim, ratio)
    figure, (left, right) = new_figure(9.6, 4.6, 2, gridspec_kw={"width_ratios": (1, 1.15)})
    real = ratio if isinstance(seen, str) else seen.layer.compression_ratio
    figure.suptitle(f"{method_style(method).label} at {real:.3g}×, {vocabulary:,} items")
    if isinstance(seen, str):
        out_of_reach([left, right], "Out of reach:", seen)
        return figure
    ids = ids_by_rank(vocabulary, shuffled)
    weights = _weights(counts, vocabulary, zipf)
    _collisions(left, fates(seen.code[ids], weights), weights)
    rank = min(rank, vocabulary - 1)
    common = shared_reads(seen.layer, int(ids[rank]))[ids]
    _sharers(right, common, rank, names, weights)
    figure.legend(loc="outside lower left", ncols=3)
    return figure


def _collisions(ax: Axes, fate: np.ndarray, weights: np.ndarray) -> None:
    """Draw the fates of the items in bands of popularity."""
    edges = [0, *(10**k for k in range(1, 9) if 10**k < len(fate)), len(fate)]
    bands = list(pairwise(edges))
    bottom = np.zeros(len(bands))
    for k, (label, color, hatch) in enumerate(_FATES):
        share = np.array([(fate[a:b] == k).mean() for a, b in bands])
        look: Any = {"color": color, "hatch": hatch, "ec": "white", "lw": 0.6, "label": label}
        ax.bar(range(len(bands)), share, 0.8, bottom=bottom, **look)
        bottom += share
    ax.set_xticks(range(len(bands)), [f"{a + 1:,}\nto {b:,}" for a, b in bands])
    ax.set(ylim=(0, 1), xlabel="popularity rank", ylabel="share of the items")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(axis="x", visible=False)
    lost = weights[fate == 2].sum() / weights.sum()
    ax.set_title(f"{lost:.1%} of the ratings go to hidden items")


def _sharers(
    ax: Axes, common: np.ndarray, rank: int, names: Sequence[str], weights: np.ndarray
) -> None:
    """Draw the items that share most with the item of a rank."""
    common = common.copy()
    common[rank] = 0
    sharers = int((common > 0).sum())
    top = np.lexsort((-weights, -common.round(12)))[:_SHOWN]
    top = top[common[top] > 0]
    white = {"fc": "white", "ec": "none", "alpha": 0.85, "pad": 1.2}
    for y, other in enumerate(top):
        color, hatch = (PALETTE[3], "////") if common[other] >= 1 else (PALETTE[9], "")
        ax.barh(y, common[other], 0.72, color=color, hatch=hatch, ec="white", lw=0.6)
        text = f"{str(names[other])[:38]}  ({weights[other]:,.0f})"
        ax.text(0.01, y, text, va="center", fontsize=9, color=INK, bbox=white)
    if not len(top):
        ax.text(0.5, _SHOWN / 2 - 0.5, "nobody reads any of its rows", ha="center", color=FAINT)
    ax.set(xlim=(0, 1), ylim=(_SHOWN - 0.5, -0.5), yticks=[])
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("share of the numbers it reads")
    ax.grid(axis="y", visible=False)
    ax.set_title(f"{sharers:,} share{'s' * (sharers == 1)} with {str(names[rank])[:32]}")


def describe_microscope(
    counts: np.ndarray,
    names: Sequence[str],
    *,
    method: str,
    vocabulary: int,
    ratio: float,
    rank: int,
    shuffled: bool = False,
    zipf: bool = False,
    embedding_dim: int = 64,
) -> str:
    """Text alternative of `microscope`, whose arguments it takes."""
    seen = slide(method, vocabulary, embedding_dim, ratio)
    if isinstance(seen, str):
        return f"{method} cannot store {vocabulary:,} items at a ratio of {ratio:g}: {seen}."
    found, ids = seen.report, ids_by_rank(vocabulary, shuffled)
    weights = _weights(counts, vocabulary, zipf)
    hidden = fates(seen.code[ids], weights) == 2
    rank = min(rank, vocabulary - 1)
    common = np.delete(shared_reads(seen.layer, int(ids[rank]))[ids], rank)
    low, high = found.expected.pairs_interval
    alike, partly = int((common >= 1).sum()), int(((common > 0) & (common < 1)).sum())
    return (
        f"{seen.layer.nbytes:,} bytes; {found.distinct_codes:,} codes for {vocabulary:,} items, "
        f"{found.colliding_pairs:,} pairs share everything (random hashing into the same tables: "
        f"{low:,.0f} to {high:,.0f}). {hidden.sum():,} items are hidden behind a more popular "
        f"one and take {weights[hidden].sum() / weights.sum():.1%} of the ratings. {names[rank]} "
        f"shares all with {alike:,} item{'s' * (alike != 1)} and a part with {partly:,}."
    )
