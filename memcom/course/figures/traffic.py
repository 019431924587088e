"""An explorer's picture: the bytes of one lookup, for the full table and for a compressed one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from memcom.budget import BudgetError, build
from memcom.course.figures.calculator import in_units
from memcom.plots.theme import INK, PALETTE, method_style, new_figure, plain_axis, themed
from memcom.profiling import Traffic, lookup_traffic

WIDTH = 64  # numbers in a vector
BEFORE = 2**17  # ids that were looked up before, of which the cache may still hold rows


@lru_cache(maxsize=16)
def _layer(method: str, num_embeddings: int, ratio: int) -> nn.Module | str:
    """The layer at the ratio, or why there is none; of the full table, its addresses will do."""
    if method == "full":
        return nn.Embedding(num_embeddings, WIDTH, device="meta")
    try:
        return build(method, num_embeddings, WIDTH, ratio=ratio)
    except BudgetError as error:
        return str(error).split("; ")[-1]


@lru_cache(maxsize=32)
def drawn(num_embeddings: int, count: int, power: float) -> Tensor:
    """Ids by a Zipf law of that power; 0 is uniform. Always the same ones."""
    weights = np.arange(1, num_embeddings + 1, dtype=np.float64) ** -power
    total = np.cumsum(weights)
    places = np.random.default_rng(0).random(count) * total[-1]
    return torch.from_numpy(np.searchsorted(total, places).clip(max=num_embeddings - 1))


def traffic_of(
    method: str, num_embeddings: int, ratio: int, batch: int, power: float, cache: int
) -> Traffic | str:
    """Count the bytes of one lookup among many.

    Args:
        method: Registry name.
        num_embeddings: Number of ids; vectors are `WIDTH` wide.
        ratio: Compression ratio; the full table is not held to it.
        batch: Ids looked up.
        power: Exponent of the ids' Zipf law; 0 is uniform.
        cache: Its size in MB. It holds what the lookups before this one read last.

    Returns:
        The bytes, or why the method cannot be that small.
    """
    layer = _layer(method, num_embeddings, ratio)
    if isinstance(layer, str):
        return layer
    ids = drawn(num_embeddings, BEFORE + batch, power)
    return lookup_traffic(layer, ids[BEFORE:], before=ids[:BEFORE], cache=cache * 10**6)


@lru_cache(maxsize=64)
def _counted(*size: Any) -> Traffic | str:
    return traffic_of(*size)


def lookup_bytes(
    method: str, num_embeddings: int, ratio: int, batch: int, power: float, cache: int
) -> Figure:
    """Bytes of a lookup as asked for, and those that come from memory, beside the full table's.

    Args:
        method: Registry name of the compressed one.
        num_embeddings: Number of ids; vectors are `WIDTH` wide.
        ratio: Compression ratio of it.
        batch: Ids looked up.
        power: Exponent of the ids' Zipf law; 0 is uniform.
        cache: Its size in MB.

    Returns:
        The figure. Where the method cannot be that small it says so.
    """
    with themed():
        figure, (ax,) = new_figure(8.8, 3.5)
        bars = []
        for name in ("full", method):
            found = _counted(name, num_embeddings, ratio, batch, power, cache)
            label = method_style(name).label
            if isinstance(found, str):
                ax.text(0.02, 2.5, found, transform=ax.get_yaxis_transform(), va="center")
                found = Traffic(0, 0, 0, 0, 0)
            bars.append((f"{label}: asked for", found.ids, found.rows, found.output))
            bars.append(("from and to memory", found.ids, found.lines, found.output))
        left = np.zeros(len(bars))
        for k, part in enumerate(("ids read", "rows read", "vectors written")):
            widths = np.array([bar[k + 1] for bar in bars], dtype=float)
            look: Any = {"color": PALETTE[(7, 0, 1)[k]], "hatch": ("", "////", "")[k]}
            ax.barh(range(len(bars)), widths, 0.62, left, edgecolor=INK, lw=0.7, label=part, **look)
            left += widths
        for y, total in enumerate(left):
            if total:
                ax.annotate(
                    in_units(total), (total, y), (4, 0), textcoords="offset points", va="center",
                    fontsize=9,
                )  # fmt: skip
        ax.set_yticks(range(len(bars)), [bar[0] for bar in bars])
        ax.set(ylim=(3.6, -0.6), xlim=(0, 1.15 * max(left)))
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        plain_axis(ax.xaxis, lambda x, _: in_units(x))
        ax.set_title(f"One lookup of {batch:,} ids, a cache of {cache} MB", pad=26)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return figure


def describe_lookup_bytes(
    method: str, num_embeddings: int, ratio: int, batch: int, power: float, cache: int
) -> str:
    """The numbers of `lookup_bytes`, whose arguments it takes, in a few sentences."""
    law = f"by a Zipf law of power {power:g}" if power else "uniform"
    said = [f"{batch:,} ids of {num_embeddings:,}, {law}; vectors of {WIDTH}; {cache} MB of cache."]
    for name in ("full", method):
        found = _counted(name, num_embeddings, ratio, batch, power, cache)
        label = method_style(name).label
        if isinstance(found, str):
            said.append(f"{label} cannot be {ratio} times smaller: {found}.")
            continue
        said.append(
            f"{label}: tables of {in_units(found.tables)}; asked for {in_units(found.asked)}, of "
            f"which {in_units(found.rows)} are rows; from and to memory {in_units(found.moved)}, "
            f"of which {in_units(found.lines)} are rows."
        )
    return " ".join(said)
