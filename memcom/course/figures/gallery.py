"""Effective tables side by side: what each compressor makes of the same number of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from memcom.plots.theme import method_style, themed

_MOST_IDS = 512


def effective_tables(layers: Mapping[str, Any], columns: int = 4) -> Figure:
    """Heat maps of the vectors that the ids of several small layers get.

    Args:
        layers: Layers by method name, of at most 512 ids each.
        columns: Pictures in a row.

    Returns:
        The figure: one picture for each layer, ids from top to bottom, titled with the number of
        different vectors. Colours run symmetrically about zero, each layer by its own scale.

    Raises:
        ValueError: If there are no layers, or one has more than 512 ids.
    """
    if not layers or max(layer.num_embeddings for layer in layers.values()) > _MOST_IDS:
        raise ValueError(f"give one or more layers of at most {_MOST_IDS} ids each")
    lines = -(-len(layers) // columns)
    with themed():
        figure = Figure(figsize=(2.15 * columns + 0.3, 2.6 * lines), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax in axes[len(layers) :]:
            ax.set_visible(False)
        for ax, (name, layer) in zip(axes, layers.items(), strict=False):
            with torch.no_grad():
                rows = layer.materialize().float().cpu().numpy()
            limit = float(np.quantile(np.abs(rows), 0.95)) or 1.0
            different = len(np.unique(rows + 0.0, axis=0))
            ax.imshow(
                rows, cmap="cividis", vmin=-limit, vmax=limit, aspect="auto",
                interpolation="nearest",
            )  # fmt: skip
            ax.set_title(
                f"{method_style(name).label}\n{different} of {len(rows)} differ",
                fontsize=9.5,
                pad=4,
            )
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
        for ax in axes[: len(layers) : columns]:
            ax.set_ylabel("ids", fontsize=9.5)
    return figure
