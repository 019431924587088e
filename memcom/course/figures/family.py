"""One member of the family at a time: the table it stands for, and where its bytes go."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from memcom.budget import BudgetError, plan
from memcom.embeddings import CompressedEmbedding, parse_spec
from memcom.plots.theme import FAINT, INK, method_style, new_figure, plain_axis, themed


@lru_cache(maxsize=128)
def stirred(
    method: str, num_embeddings: int, embedding_dim: int, ratio: float
) -> CompressedEmbedding | str:
    """A layer within a budget whose parameters have all moved, as training would move them.

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
    name, options = parse_spec(method)
    budget: dict[str, Any] = {} if name == "full" else {"ratio": ratio}
    try:
        planned = plan(name, num_embeddings, embedding_dim, **budget, **options)
    except BudgetError as error:
        return str(error).split("; ")[-1]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        layer = planned.build()
        for parameter in layer.parameters():
            parameter.add_(0.5 * parameter.square().mean().sqrt() * torch.randn_like(parameter))
        return layer.freeze().eval()


def family_member(method: str, num_embeddings: int, embedding_dim: int, ratio: float) -> Figure:
    """The vectors of all ids of one small layer, and the bytes of its tensors.

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
    style, full = method_style(method), 4 * num_embeddings * embedding_dim
    with themed():
        figure, (left, right) = new_figure(9.0, 4.3, 2, gridspec_kw={"width_ratios": (1.15, 1)})
        figure.suptitle(f"{style.label}, {num_embeddings} ids of width {embedding_dim}")
        if isinstance(layer, str):
            for ax in (left, right):
                ax.set_axis_off()
            left.text(0, 0.6, f"Out of reach at {ratio:g}×:", fontweight="bold")
            left.text(0, 0.5, layer, wrap=True, va="top")
            return figure
        rows = layer.materialize().float().numpy()
        limit = float(np.quantile(np.abs(rows), 0.98)) or 1.0
        left.imshow(
            rows, cmap="cividis", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        left.set(xlabel="dimension", ylabel="id")
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.grid(visible=False)
        left.set_title(f"{_different(rows)} of {num_embeddings} vectors differ")

        stored = sorted(_stored(layer).items(), key=lambda item: -item[1])
        for y, (name, nbytes) in enumerate(stored):
            right.barh(y, nbytes, 0.66, color=style.color, ec=INK, lw=0.5)
            right.annotate(
                f"{name}  {nbytes:,}", (nbytes, y), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=9,
            )  # fmt: skip
        if method != "full":
            right.axvline(full / ratio, color=FAINT, ls="--", lw=1.4)
            right.annotate(
                f"budget {full / ratio:,.0f}", (full / ratio, 0.02), xytext=(-4, 0),
                xycoords=("data", "axes fraction"), textcoords="offset points", ha="right",
                color=FAINT,
            )  # fmt: skip
        right.set(yticks=[], ylim=(max(len(stored), 4) - 0.3, -0.7), xlabel="stored bytes")
        right.set_xlim(0, 1.12 * max(layer.nbytes, 0 if method == "full" else full / ratio))
        if stored[0][1] > 0.5 * right.get_xlim()[1]:  # a label beside a long bar has no room
            right.texts[0].set(
                position=(-4, 0), ha="right", bbox={"fc": "white", "ec": "none", "pad": 1.5}
            )
        plain_axis(right.xaxis)
        right.grid(axis="y", visible=False)
        right.set_title(f"{layer.nbytes:,} bytes, {layer.compression_ratio:.1f}× smaller")
    return figure


def _different(rows: np.ndarray) -> int:
    return len(np.unique(rows + 0.0, axis=0))


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
    """The numbers of `family_member` in words.

    Args:
        method: Registry name or spec.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        ratio: The budget, as a compression ratio.

    Returns:
        One or two sentences.
    """
    layer = stirred(method, num_embeddings, embedding_dim, ratio)
    if isinstance(layer, str):
        return f"{method} cannot store {num_embeddings} ids at a ratio of {ratio:g}: {layer}."
    rows = layer.materialize().float().numpy()
    parts = ", ".join(f"{name} {nbytes:,}" for name, nbytes in _stored(layer).items())
    rank = int(np.linalg.matrix_rank(rows))
    return (
        f"{method} stores {layer.nbytes:,} bytes ({parts}) instead of {layer.full_nbytes:,}, a "
        f"ratio of {layer.compression_ratio:.2f}. {_different(rows)} of {num_embeddings} vectors "
        f"differ; the table has rank {rank}."
    )
