"""An explorer's picture: the bytes of one lookup, for the full table and for a compressed one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from memcom._text import in_bytes
from memcom.course.figures._shared import note, planned
from memcom.course.figures.speed import _bars_of_bytes
from memcom.plots.theme import INK, PALETTE, method_style, new_figure, themed
from memcom.profiling import Traffic, lookup_traffic

WIDTH = 64  # numbers in a vector
BEFORE = 2**17  # ids that were looked up before, of which the cache may still hold rows
_PARTS = (
    ("ids read", PALETTE[7], ""),
    ("rows read", PALETTE[0], "////"),
    ("vectors written", PALETTE[1], ""),
)


@lru_cache(maxsize=16)
def _layer(method: str, num_embeddings: int, ratio: int) -> nn.Module | str:
    """Return the layer at the ratio, or why there is none; a full table needs no storage."""
    if method == "full":
        return nn.Embedding(num_embeddings, WIDTH, device="meta")
    found = planned(method, num_embeddings, WIDTH, ratio=ratio)
    return found if isinstance(found, str) else found.build()


@lru_cache(maxsize=32)
def zipf_ids(num_embeddings: int, count: int, power: float) -> Tensor:
    """Ids drawn by a Zipf law of that power, 0 for uniform; int64 ``(count,)``, always the same."""
    weights = np.arange(1, num_embeddings + 1, dtype=np.float64) ** -power
    total = np.cumsum(weights)
    places = np.random.default_rng(0).random(count) * total[-1]
    return torch.from_numpy(np.searchsorted(total, places).clip(max=num_embeddings - 1))


@lru_cache(maxsize=64)
def traffic_of(
    method: str, num_embeddings: int, ratio: int, batch: int, power: float, cache: int
) -> Traffic | str:
    """Bytes of one lookup among many.

    Args:
        method: Registry name.
        num_embeddings: Number of ids; vectors are `WIDTH` wide.
        ratio: Compression ratio; the full table is not held to it.
        batch: Number of ids looked up.
        power: Exponent of the ids' Zipf law; 0 is uniform.
        cache: Its size in MB. It holds the rows that earlier lookups read last.

    Returns:
        The bytes, or why the method cannot be that small.
    """
    layer = _layer(method, num_embeddings, ratio)
    if isinstance(layer, str):
        return layer
    ids = zipf_ids(num_embeddings, BEFORE + batch, power)
    return lookup_traffic(layer, ids[BEFORE:], before=ids[:BEFORE], cache=cache * 10**6)


@themed()
def lookup_bytes(
    method: str, num_embeddings: int, ratio: int, batch: int, power: float, cache: int
) -> Figure:
    """Bytes of a lookup as asked for, and those that come from memory, beside the full table's.

    Args:
        method: Registry name of the compressed one.
        num_embeddings: Number of ids; vectors are `WIDTH` wide.
        ratio: Compression ratio of it.
        batch: Number of ids looked up.
        power: Exponent of the ids' Zipf law; 0 is uniform.
        cache: Its size in MB.

    Returns:
        The figure. Where the method cannot be that small it says so.
    """
    figure, (ax,) = new_figure(8.8, 3.5)
    labels, bars = [], []
    for name in ("full", method):
        found = traffic_of(name, num_embeddings, ratio, batch, power, cache)
        labels += [f"{method_style(name).label}: asked for", "from and to memory"]
        if isinstance(found, str):
            ax.text(0.02, 2.5, found, transform=ax.get_yaxis_transform(), va="center")
            bars += [(0, 0, 0), (0, 0, 0)]
        else:
            bars += [(found.ids, found.rows, found.output), (found.ids, found.lines, found.output)]
    left = np.zeros(len(bars))
    for (part, color, hatch), widths in zip(_PARTS, np.array(bars, dtype=float).T, strict=True):
        look: Any = {"color": color, "hatch": hatch, "edgecolor": INK, "lw": 0.7, "label": part}
        ax.barh(range(len(bars)), widths, 0.62, left, **look)
        left += widths
    for y, total in enumerate(left):
        if total:
            note(ax, in_bytes(total), (total, y), (4, 0), va="center", fontsize=9)
    ax.set_yticks(range(len(bars)), labels)
    ax.set(ylim=(3.6, -0.6), xlim=(0, 1.15 * max(left)))
    _bars_of_bytes(ax, f"One lookup of {batch:,} ids, a cache of {cache} MB", 3)
    return figure


def describe_lookup_bytes(
    method: str, num_embeddings: int, ratio: int, batch: int, power: float, cache: int
) -> str:
    """Text alternative of `lookup_bytes`, whose arguments it takes."""
    law = f"by a Zipf law of power {power:g}" if power else "uniform"
    text = [f"{batch:,} ids of {num_embeddings:,}, {law}; vectors of {WIDTH}; {cache} MB of cache."]
    for name in ("full", method):
        found = traffic_of(name, num_embeddings, ratio, batch, power, cache)
        label = method_style(name).label
        if isinstance(found, str):
            text.append(f"{label} cannot be {ratio} times smaller: {found}.")
            continue
        text.append(
            f"{label}: tables of {in_bytes(found.tables)}; asked for {in_bytes(found.asked)}, of "
            f"which {in_bytes(found.rows)} are rows; from and to memory {in_bytes(found.moved)}, "
            f"of which {in_bytes(found.lines)} are rows."
        )
    return " ".join(text)
