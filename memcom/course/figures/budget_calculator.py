"""The budget calculator: bytes a table stores and bytes its training holds, method by method.

The sizes are `memcom.plan`'s, so the picture, the command ``memcom plan`` and the layer that is
built in the end say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from matplotlib.figure import Figure

from memcom._text import in_bytes
from memcom.budget import Plan, parse_nbytes
from memcom.course.figures._shared import planned
from memcom.plots.theme import FAINT, INK, method_style, new_figure, plain_axis, themed
from memcom.profiling import training_memory

FOUNDATION = (
    *("full", "truncate", "small-dim", "low-rank", "hash", "double-hash", "qr", "mixed-radix"),
    *("crt", "bch", "memcom", "memcom-bias"),
)
"""The methods of the course's first notebooks, in the order of the picture."""


@dataclass(frozen=True)
class Fit:
    """One method within a budget.

    Attributes:
        method: Registry name.
        plan: Its sizes; None where the method cannot be that small.
        training: Bytes held at an optimizer step: table, gradients, optimizer state.
        reason: Why there is no plan; empty where there is one.
    """

    method: str
    plan: Plan | None
    training: int
    reason: str = ""

    @property
    def sizes(self) -> str:
        """The method's own sizes in words, such as ``num_buckets 566``."""
        parts = []
        for name, value in self.plan.arguments.items() if self.plan else ():
            whole = [value] if isinstance(value, int) else value
            parts.append(f"{name} " + " × ".join(f"{number:,}" for number in whole))
        return ", ".join(parts)


@lru_cache(maxsize=4096)
def _fit(method: str, num_embeddings: int, embedding_dim: int, nbytes: str, optimizer: str) -> Fit:
    found = planned(method, num_embeddings, embedding_dim, nbytes=nbytes)
    if isinstance(found, str):
        return Fit(method, None, 0, found)
    return Fit(method, found, training_memory(found.build(device="meta"), optimizer).total)


def fits(
    num_embeddings: int,
    embedding_dim: int,
    nbytes: str,
    optimizer: str = "adam",
    methods: Sequence[str] = FOUNDATION,
) -> list[Fit]:
    """Plans of several methods for one budget.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        nbytes: The budget as text, such as ``"10 MB"``.
        optimizer: Name that `memcom.profiling.training_memory` knows.
        methods: Registry names; the full table is not held to the budget.

    Returns:
        One entry for each method, in their order.
    """
    return [_fit(m, num_embeddings, embedding_dim, nbytes, optimizer) for m in methods]


@themed()
def budget_calculator(
    num_embeddings: int, embedding_dim: int, nbytes: str, optimizer: str
) -> Figure:
    """Bytes stored and bytes held in training, for the full table and all methods that fit.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        nbytes: The budget for what is stored, as text such as ``"10 MB"``.
        optimizer: Name that `memcom.profiling.training_memory` knows.

    Returns:
        The figure: a line for each method from its stored bytes to those in training.
    """
    rows = fits(num_embeddings, embedding_dim, nbytes, optimizer)
    budget = parse_nbytes(nbytes)
    reached = [b for row in rows if row.plan for b in (row.plan.nbytes, row.training)]
    low, high = min(budget, *reached), max(budget, *reached)
    figure, (ax,) = new_figure(8.4, 5.2)
    for y, row in enumerate(rows):
        style = method_style(row.method)
        if row.plan is None:
            look: Any = {"color": FAINT, "fontsize": 9, "backgroundcolor": "white"}
            ax.text(1.15 * budget, y, "cannot be that small", va="center", **look)
            continue
        stored = row.plan.nbytes
        ax.plot([stored, row.training], [y, y], color=style.color, lw=1.6, zorder=1.5)
        ax.plot([row.training], [y], "|", color=style.color, ms=11, mew=2)
        ax.plot([stored], [y], ls="", ms=8, **style.point(), label=row.method)
        text = row.sizes or in_bytes(stored)
        ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.axvline(budget, color=INK, ls="--", lw=1.2, zorder=1)
    ax.text(budget, -0.75, f"budget {nbytes}", ha="center", va="bottom", fontsize=9.5)
    ax.set(xscale="log", xlim=(low / 2, high * 2), ylim=(len(rows) - 0.5, -0.7))
    ax.set_yticks(range(len(rows)), [method_style(row.method).label for row in rows])
    ax.tick_params(axis="y", length=0)
    plain_axis(ax.xaxis, lambda x, _: in_bytes(x))
    ax.set_xlabel(f"bytes: marker = stored, end of the line = in training with {optimizer}")
    ax.set_title(f"{num_embeddings:,} ids of width {embedding_dim}", pad=22)
    return figure


def describe_budget_calculator(
    num_embeddings: int, embedding_dim: int, nbytes: str, optimizer: str
) -> str:
    """Text alternative of `budget_calculator`, whose arguments it takes."""
    full, *others = fits(num_embeddings, embedding_dim, nbytes, optimizer)
    budget = parse_nbytes(nbytes)
    stored = 4 * num_embeddings * embedding_dim
    ids, width = budget // (4 * embedding_dim), budget // (4 * num_embeddings)
    fitting = [f"{row.method} ({row.sizes})" for row in others if row.plan]
    failing = [row.method for row in others if not row.plan]
    ratio = f", {stored / budget:.3g} times the budget" if stored > budget else ""
    text = (
        f"{num_embeddings:,} ids of width {embedding_dim}: the full table stores "
        f"{in_bytes(stored)}{ratio}, and training it with {optimizer} holds "
        f"{in_bytes(full.training)}. Backwards: {nbytes} holds full rows for {ids:,} ids, or "
        f"{width:,} numbers for each of the {num_embeddings:,}. "
    )
    text += f"What fits: {', '.join(fitting)}. " if fitting else "None of the methods fits. "
    return text + (f"Cannot be that small: {', '.join(failing)}." if failing else "")
