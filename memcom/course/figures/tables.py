"""Pictures of tables: which rows a few ids read, and the vectors they really get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memcom.collisions.sharing import addresses_of, device_of
from memcom.plots.theme import FAINT, INK, PALETTE, new_figure, themed


def who_shares(emb: Any, ids: Sequence[int], names: Sequence[str] | None = None) -> Figure:
    """Address strips: which rows each of a few ids reads, shared rows filled in one colour.

    A column is one read of one table and a cell holds the row number. Ids that share a row have
    the same fill and hatch there; white cells are shared with none of the ids drawn. The last
    column names the drawn ids that read exactly the same rows everywhere.

    Args:
        emb: The layer.
        ids: Up to 40 different ids.
        names: What to call them; ``id 7`` by default.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no ids, more than 40, repeated ones, or not one name each.
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
    table_of = [k for k, rows in enumerate(found.values()) for _ in range(rows.shape[1])]
    cells = np.concatenate(list(found.values()), axis=1)
    twins = [
        [names[b] for b in range(len(ids)) if b != a and (cells[a] == cells[b]).all()]
        for a in range(len(ids))
    ]
    wide = any(twins)
    with themed():
        width = 1.9 + 1.15 * len(heads) + (2.4 if wide else 0.6)
        figure, (ax,) = new_figure(width, 1.15 + 0.3 * len(ids))
        for column in range(len(heads)):
            same_table = [c for c, t in enumerate(table_of) if t == table_of[column]]
            _strip(ax, cells, column, same_table)
        for row, same in enumerate(twins):
            if same:
                more = "" if len(same) < 3 else f" + {len(same) - 2} more"
                ax.text(len(heads) - 0.35, row, "= " + ", ".join(same[:2]) + more, va="center")
        ax.set(xlim=(-0.5, len(heads) - 0.5 + (1.9 if wide else 0)), ylim=(len(ids) - 0.5, -0.5))
        ax.set_xticks(range(len(heads)), heads)
        ax.set_yticks(range(len(ids)), names)
        ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        alone = sum(not same for same in twins)
        figure.suptitle(  # over the whole figure: the axes alone may be narrower than the title
            "Every id reads its own combination of rows"
            if alone == len(ids)
            else f"{len(ids) - alone} of {len(ids)} ids cannot be told from another",
            fontsize=ax.title.get_fontsize(),
            fontweight="bold",
        )
    return figure


_HATCHES = ("", "///", "...", "\\\\\\", "xx", "---", "++", "oo")


def _strip(ax: Axes, cells: np.ndarray, column: int, same_table: list[int]) -> None:
    """Draw one column of row numbers; a row shared within its table has one fill and hatch."""
    rows = cells[:, column]
    readers = {int(r): int((cells[:, same_table] == r).any(axis=1).sum()) for r in np.unique(rows)}
    looks = {
        int(r): k
        for k, r in enumerate(
            r
            for r in np.unique(cells[:, same_table])
            if (cells[:, same_table] == r).any(axis=1).sum() > 1
        )
    }
    for y, row in enumerate(rows.tolist()):
        shared = readers[row] > 1
        look = looks.get(row, 0)
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


def effective_table(emb: Any, ids: Sequence[int] | None = None) -> Figure:
    """Heat map of the vectors that ids really get: rows that repeat are seen to repeat.

    Args:
        emb: The layer.
        ids: Which ids, at most 512, top to bottom; the first 64 by default.

    Returns:
        The figure; colours run symmetrically about zero.

    Raises:
        ValueError: If there are no ids or more than 512.
    """
    chosen = np.arange(min(64, emb.num_embeddings)) if ids is None else np.asarray(ids)
    if not 1 <= len(chosen) <= 512:
        raise ValueError(f"ids must be 1 to 512 ids, got {len(chosen)}")
    with torch.no_grad():
        rows = emb(torch.as_tensor(chosen, device=device_of(emb))).float().cpu().numpy()
    limit = float(np.quantile(np.abs(rows), 0.99)) or 1.0
    distinct = len(np.unique(rows + 0.0, axis=0))
    with themed():
        figure, (ax,) = new_figure(6.6, 4.8)
        picture = ax.imshow(
            rows, cmap="cividis", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        bar = figure.colorbar(picture, ax=ax, extend="both", shrink=0.9)
        bar.set_label("value")
        bar.outline.set_visible(False)
        ticks = range(0, len(chosen), -(-len(chosen) // 10))
        ax.set_yticks(ticks, [str(chosen[t]) for t in ticks])
        ax.set(xlabel="dimension", ylabel="id")
        ax.grid(visible=False)
        ax.set_title(f"{len(chosen)} ids, {distinct} different vectors")
    return figure
