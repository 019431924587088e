"""Pictures of tables: which rows a few ids read, and the vectors that come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memcom.collisions.sharing import addresses_of, device_of
from memcom.course.figures._shared import heat_map, num_distinct, without_frame
from memcom.plots.theme import FAINT, INK, PALETTE, method_style, new_figure, themed

_MOST_IDS = 512
_HATCHES = ("", "///", "...", "\\\\\\", "xx", "---", "++", "oo")


@themed()
def who_shares(emb: Any, ids: Sequence[int], names: Sequence[str] | None = None) -> Figure:
    """Address strips: the rows that each of a few ids reads, shared rows filled in one colour.

    A column is one read of one table and a cell holds the row number. Ids that share a row have
    the same fill and hatch there; white cells are shared with none of the ids drawn. The last
    column names the drawn ids that read exactly the same rows everywhere.

    Args:
        emb: The layer.
        ids: Up to 40 different ids.
        names: A name for each; ``id 7`` by default.

    Returns:
        The figure.

    Raises:
        ValueError: There are no ids, more than 40, repeated ones, or not one name each.
    """
    ids = [int(i) for i in ids]
    if not 1 <= len(ids) <= 40 or len(set(ids)) < len(ids):
        raise ValueError(f"ids must be 1 to 40 different ids, got {len(ids)}: {ids[:41]}")
    names = [f"id {i}" for i in ids] if names is None else list(names)
    if len(names) != len(ids):
        raise ValueError(f"{len(ids)} ids need as many names, got {len(names)}")
    found = addresses_of(emb, torch.tensor(ids, device=device_of(emb)))
    heads = [
        table + (f"\nread {j + 1}" if rows.shape[1] > 1 else "")
        for table, rows in found.items()
        for j in range(rows.shape[1])
    ]
    cells = np.concatenate(list(found.values()), axis=1)
    twins = [
        [names[b] for b in range(len(ids)) if b != a and (cells[a] == cells[b]).all()]
        for a in range(len(ids))
    ]
    wide = any(twins)
    figure, (ax,) = new_figure(
        1.9 + 1.15 * len(heads) + (2.4 if wide else 0.6), 1.15 + 0.3 * len(ids)
    )
    column = 0
    for rows in found.values():
        _strips(ax, rows, column)
        column += rows.shape[1]
    for row, same in enumerate(twins):
        if same:
            more = "" if len(same) < 3 else f" + {len(same) - 2} more"
            ax.text(len(heads) - 0.35, row, "= " + ", ".join(same[:2]) + more, va="center")
    ax.set(xlim=(-0.5, len(heads) - 0.5 + (1.9 if wide else 0)), ylim=(len(ids) - 0.5, -0.5))
    ax.set_xticks(range(len(heads)), heads)
    ax.set_yticks(range(len(ids)), names)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    without_frame(ax)
    alone = sum(not same for same in twins)
    figure.suptitle(  # over the whole figure: the axes alone may be narrower than the title
        "Every id reads its own combination of rows"
        if alone == len(ids)
        else f"{len(ids) - alone} of {len(ids)} ids cannot be told from another",
        fontsize=ax.title.get_fontsize(),
        fontweight="bold",
    )
    return figure


def _strips(ax: Axes, rows: np.ndarray, first: int) -> None:
    """Draw the reads of one table, a column each; a row that several ids read has one look."""
    readers = {int(r): int((rows == r).any(axis=1).sum()) for r in np.unique(rows)}
    looks = {r: k for k, r in enumerate(r for r, count in readers.items() if count > 1)}
    for y, x in np.ndindex(rows.shape):
        row, column = int(rows[y, x]), first + x
        shared, look = row in looks, looks.get(row, 0)
        ax.add_patch(
            Rectangle(
                (column - 0.42, y - 0.42),
                0.84,
                0.84,
                facecolor=PALETTE[look % len(PALETTE)] if shared else "white",
                edgecolor=FAINT,
                hatch=_HATCHES[(look // 2) % len(_HATCHES)] if shared else "",
                alpha=0.55 if shared else 1.0,
                linewidth=0.8,
            )
        )
        ax.text(
            column, y, f"{row:,}", ha="center", va="center", fontsize=9.5,
            fontweight="bold" if shared else "normal", color=INK if shared else FAINT,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"} if shared else None,
        )  # fmt: skip


@themed()
def effective_table(emb: Any, ids: Sequence[int] | None = None) -> Figure:
    """Heat map of the vectors that ids get: rows that repeat are seen to repeat.

    Args:
        emb: The layer.
        ids: Ids to draw, at most 512, top to bottom; the first 64 by default.

    Returns:
        The figure; colours run symmetrically about zero.

    Raises:
        ValueError: There are no ids or more than 512.
    """
    chosen = np.arange(min(64, emb.num_embeddings)) if ids is None else np.asarray(ids)
    if not 1 <= len(chosen) <= _MOST_IDS:
        raise ValueError(f"ids must be 1 to {_MOST_IDS} ids, got {len(chosen)}")
    with torch.no_grad():
        rows = emb(torch.as_tensor(chosen, device=device_of(emb))).float().cpu().numpy()
    figure, (ax,) = new_figure(6.6, 4.8)
    bar = figure.colorbar(heat_map(ax, rows, 0.99), ax=ax, extend="both", shrink=0.9)
    bar.set_label("value")
    bar.outline.set_visible(False)
    ticks = range(0, len(chosen), -(-len(chosen) // 10))
    ax.set_yticks(ticks, [str(chosen[t]) for t in ticks])
    ax.set(xlabel="dimension", ylabel="id")
    ax.set_title(f"{len(chosen)} ids, {num_distinct(rows)} different vectors")
    return figure


@themed()
def effective_tables(layers: Mapping[str, Any], columns: int = 4) -> Figure:
    """Heat maps of the vectors that the ids of several small layers get, side by side.

    Args:
        layers: Layers by method name, of at most 512 ids each.
        columns: Pictures in a row.

    Returns:
        The figure: one picture for each layer, ids from top to bottom, titled with the number of
        different vectors. Colours run symmetrically about zero, each layer by its own scale.

    Raises:
        ValueError: There are no layers, or one has more than 512 ids.
    """
    if not layers or max(layer.num_embeddings for layer in layers.values()) > _MOST_IDS:
        raise ValueError(f"give one or more layers of at most {_MOST_IDS} ids each")
    lines = -(-len(layers) // columns)
    figure = Figure(figsize=(2.15 * columns + 0.3, 2.6 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for ax in axes.ravel()[len(layers) :]:
        ax.set_visible(False)
    for ax, (name, layer) in zip(axes.ravel(), layers.items(), strict=False):
        with torch.no_grad():
            rows = layer.materialize().float().cpu().numpy()
        heat_map(ax, rows, 0.95)
        title = f"{method_style(name).label}\n{num_distinct(rows)} of {len(rows)} differ"
        ax.set_title(title, fontsize=9.5, pad=4)
        ax.set(xticks=[], yticks=[])
    for ax in axes[:, 0]:
        ax.set_ylabel("ids", fontsize=9.5)
    return figure
