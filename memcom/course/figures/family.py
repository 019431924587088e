"""One member of the family at a time: the table it stands for, and where its bytes go."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from memcom.course.figures._shared import (
    frozen,
    heat_map,
    note,
    num_distinct,
    out_of_reach,
    planned,
)
from memcom.embeddings import CompressedEmbedding
from memcom.plots.theme import FAINT, INK, method_style, new_figure, plain_axis, themed


@lru_cache(maxsize=128)
def stirred(
    method: str, num_embeddings: int, embedding_dim: int, ratio: float
) -> CompressedEmbedding | str:
    """Layer within a budget whose parameters have all moved, as training would move them.

    Without that, methods that start all alike (MEmCom's multipliers are 1) show only how they
    start. No two runs differ.

    Args:
        method: Registry name or spec, such as ``"qr(operation=concat)"``.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        ratio: The budget, as a compression ratio; the full table is not held to it.

    Returns:
        The frozen layer, or why the method cannot be that small.
    """
    found = planned(method, num_embeddings, embedding_dim, ratio=ratio)
    return found if isinstance(found, str) else frozen(found, stir=0.5)


@themed()
def family_member(method: str, num_embeddings: int, embedding_dim: int, ratio: float) -> Figure:
    """Vectors of all ids of one small layer, and the bytes of its tensors.

    Args:
        method: Registry name or spec.
        num_embeddings: Number of ids, at most 512.
        embedding_dim: Width of the vectors.
        ratio: The budget, as a compression ratio.

    Returns:
        The figure. Where the method cannot be that small it says so.

    Raises:
        ValueError: There are more than 512 ids.
    """
    if num_embeddings > 512:
        raise ValueError(f"num_embeddings must be at most 512, got {num_embeddings}")
    layer = stirred(method, num_embeddings, embedding_dim, ratio)
    label = method_style(method).label
    figure, (left, right) = new_figure(9.0, 4.3, 2, gridspec_kw={"width_ratios": (1.15, 1)})
    figure.suptitle(f"{label}, {num_embeddings} ids of width {embedding_dim}")
    if isinstance(layer, str):
        out_of_reach([left, right], f"Out of reach at {ratio:g}×:", layer)
        return figure
    rows = layer.materialize().float().numpy()
    heat_map(left, rows, 0.98)
    left.set(xlabel="dimension", ylabel="id")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_title(f"{num_distinct(rows)} of {num_embeddings} vectors differ")
    _bytes(right, method, layer, ratio)
    return figure


def _bytes(ax: Axes, method: str, layer: CompressedEmbedding, ratio: float) -> None:
    """Draw a bar for each stored tensor, and the budget."""
    stored = sorted(_stored(layer).items(), key=lambda item: -item[1])
    for y, (name, nbytes) in enumerate(stored):
        ax.barh(y, nbytes, 0.66, color=method_style(method).color, ec=INK, lw=0.5)
        note(ax, f"{name}  {nbytes:,}", (nbytes, y), (4, 0), va="center", fontsize=9)
    budget = 0.0 if method == "full" else layer.full_nbytes / ratio
    if budget:
        ax.axvline(budget, color=FAINT, ls="--", lw=1.4)
        look = {"xycoords": ("data", "axes fraction"), "ha": "right", "color": FAINT}
        note(ax, f"budget {budget:,.0f}", (budget, 0.02), (-4, 0), **look)
    ax.set(yticks=[], ylim=(max(len(stored), 4) - 0.3, -0.7), xlabel="stored bytes")
    ax.set_xlim(0, 1.12 * max(layer.nbytes, budget))
    if stored[0][1] > 0.5 * ax.get_xlim()[1]:  # a label beside a long bar has no room
        white = {"fc": "white", "ec": "none", "pad": 1.5}
        ax.texts[0].set(position=(-4, 0), ha="right", bbox=white)
    plain_axis(ax.xaxis)
    ax.grid(axis="y", visible=False)
    ax.set_title(f"{layer.nbytes:,} bytes, {layer.compression_ratio:.1f}× smaller")


def _stored(layer: CompressedEmbedding) -> dict[str, int]:
    """Bytes by tensor; numbered ones (``tables.0``, ``tables.1``) together beyond six."""
    sizes = {k: t.numel() * t.element_size() for k, t in layer.state_dict().items()}
    if len(sizes) <= 6:
        return sizes
    merged: dict[str, int] = {}
    for name, nbytes in sizes.items():
        stem = name.partition(".")[0]
        merged[stem] = merged.get(stem, 0) + nbytes
    return merged


def describe_family_member(
    method: str, num_embeddings: int, embedding_dim: int, ratio: float
) -> str:
    """Text alternative of `family_member`, whose arguments it takes."""
    layer = stirred(method, num_embeddings, embedding_dim, ratio)
    if isinstance(layer, str):
        return f"{method} cannot store {num_embeddings} ids at a ratio of {ratio:g}: {layer}."
    rows = layer.materialize().float().numpy()
    parts = ", ".join(f"{name} {nbytes:,}" for name, nbytes in _stored(layer).items())
    return (
        f"{method} stores {layer.nbytes:,} bytes ({parts}) instead of {layer.full_nbytes:,}, a "
        f"ratio of {layer.compression_ratio:.2f}. {num_distinct(rows)} of {num_embeddings} vectors "
        f"differ; the table has rank {np.linalg.matrix_rank(rows)}."
    )
