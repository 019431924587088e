"""Steps that several figures share: a layer within a budget, heat maps, notes, axes of counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from memcom.budget import BudgetError, Plan, plan
from memcom.embeddings import CompressedEmbedding, parse_spec
from memcom.plots.theme import plain_axis, short_number

ZERO = 0.3  # where a logarithmic axis of counts shows 0


def planned(spec: str, num_embeddings: int, embedding_dim: int, **budget: Any) -> Plan | str:
    """Return the plan of a method within a budget, or the reason why it cannot be that small.

    The full table is planned without a budget.
    """
    name, options = parse_spec(spec)
    try:
        return plan(
            name, num_embeddings, embedding_dim, **({} if name == "full" else budget), **options
        )
    except BudgetError as error:
        return error.reason


def frozen(found: Plan, stir: float = 0.0) -> CompressedEmbedding:
    """Build and freeze a layer, always the same; first move each parameter by `stir` of its scale.

    Unmoved, methods that start all alike (MEmCom's multipliers are 1) show only how they start.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        layer = found.build()
        for parameter in layer.parameters() if stir else ():
            parameter.add_(stir * parameter.square().mean().sqrt() * torch.randn_like(parameter))
        return layer.freeze().eval()


def out_of_reach(axes: list[Axes], heading: str, reason: str) -> None:
    """Write why there is nothing to draw."""
    for ax in axes:
        ax.set_axis_off()
    axes[0].text(0, 0.6, heading, fontweight="bold")
    axes[0].text(0, 0.5, reason, wrap=True, va="top")


def heat_map(ax: Axes, rows: np.ndarray, quantile: float) -> AxesImage:
    """Draw vectors as rows of colours, symmetric about zero, cut at a quantile of their size."""
    limit = float(np.quantile(np.abs(rows), quantile)) or 1.0
    ax.grid(visible=False)
    return ax.imshow(
        rows, cmap="cividis", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )


def num_distinct(rows: np.ndarray) -> int:
    """Count different rows; 0.0 and -0.0 are equal."""
    return len(np.unique(rows + 0.0, axis=0))


def num_pairs(labels: np.ndarray) -> int:
    """Count unordered pairs with equal labels."""
    sizes = np.unique(labels, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def note(
    ax: Axes, text: str, xy: tuple[float, float], offset: tuple[float, float], **look: Any
) -> None:
    """Write a text beside a point, moved by an offset in points."""
    ax.annotate(text, xy, xytext=offset, textcoords="offset points", **look)


def axis_of_counts(ax: Axes) -> None:
    """Make the y axis logarithmic, with 0 at its foot; counts of 0 have to be drawn at `ZERO`."""
    ax.set(yscale="log")
    top = ax.get_ylim()[1]
    plain_axis(ax.yaxis, lambda y, _: "0" if y <= ZERO else short_number(y))
    ax.set_yticks([ZERO, *(t for t in ax.get_yticks() if 1 <= t <= top)])
    ax.set_ylim(0.85 * ZERO, top)


def without_frame(ax: Axes) -> None:
    """Leave only what is drawn: no grid, no spines."""
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def legend_below(ax: Axes, columns: int, **options: Any) -> Any:
    """Put the legend under the axis, outside the picture."""
    return ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns, **options)
