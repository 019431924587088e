"""Figures about what moves a verdict: the two scores behind a loss, and models at equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from memcom._text import in_bytes
from memcom.course.figures._shared import note
from memcom.plots.theme import FAINT, INK, PALETTE, method_style, new_figure, plain_axis, themed

Row = Mapping[str, Any]
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": PALETTE[0], "marker": "o", "linestyle": "-"},
    {"color": PALETTE[3], "marker": "s", "linestyle": "--"},
)


class Score(NamedTuple):
    """A score with its 95 % interval."""

    value: float
    low: float
    high: float


@themed()
def two_scores(
    pairs: Mapping[str, tuple[Score, Score]], labels: tuple[str, str], axis: str
) -> Figure:
    """Two scores of each line as points with intervals, and how far the second is below the first.

    Args:
        pairs: By label of the line, from top to bottom: the two scores.
        labels: What the first scores are, and the second.
        axis: Label of the axis of scores.

    Returns:
        The figure. At the right of a line: how much lower the second score is, in percent of the
        first.

    Raises:
        ValueError: There is no pair.
    """
    if not pairs:
        raise ValueError("two_scores needs at least one pair of scores")
    figure, (ax,) = new_figure(8.2, 1.5 + 0.5 * len(pairs))
    for y, (first, second) in enumerate(pairs.values()):
        ax.plot([first.value, second.value], [y - 0.12, y + 0.12], color=FAINT, lw=1.2, zorder=1)
        for place, score in enumerate((first, second)):
            look = {key: _LOOKS[place][key] for key in ("color", "marker")}
            at = y + (-0.12, 0.12)[place]
            ax.plot([score.low, score.high], [at, at], color=look["color"], lw=2.2, alpha=0.55)
            filling = look["color"] if place == 0 else "white"
            label = labels[place] if y == 0 else None
            ax.plot(score.value, at, **look, mfc=filling, ms=7.5, ls="", label=label)
        lost = 1 - second.value / first.value
        ax.text(1.01, y, f"{-lost:+.1%}", transform=ax.get_yaxis_transform(), va="center")
    ax.set_yticks(range(len(pairs)), list(pairs))
    ax.set_ylim(len(pairs) - 0.4, -0.6)
    ax.set_xlabel(axis)
    ax.set_title(f"{labels[1]} against {labels[0]}")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def describe_two_scores(
    pairs: Mapping[str, tuple[Score, Score]], labels: tuple[str, str], axis: str
) -> str:
    """Text alternative of `two_scores`, whose arguments it takes."""
    lines = [
        f"{name}: {labels[0]} {first.value:.4f}, {labels[1]} {second.value:.4f} "
        f"({second.value / first.value - 1:+.1%})"
        for name, (first, second) in pairs.items()
    ]
    return f"{axis}. {'; '.join(lines)}."


Curves = Mapping[tuple[str, str], Sequence[tuple[int, float]]]


@themed()
def learning_curves(curves: Curves, axis: str) -> Figure:
    """Score after every few epochs, a panel for each model and a line for each method.

    Args:
        curves: By model and method: epochs with the score after them.
        axis: Label of the axis of scores, which all panels share.

    Returns:
        The figure. A ring marks the best epoch of each line.

    Raises:
        ValueError: There is no curve, or one is empty.
    """
    if not curves or not all(curves.values()):
        raise ValueError("learning_curves needs at least one curve, none of them empty")
    models = list(dict.fromkeys(model for model, _ in curves))
    figure, axes = new_figure(3.1 * len(models) + 0.6, 3.6, len(models), sharey=True)
    for (model, method), curve in curves.items():
        ax, style = axes[models.index(model)], method_style(method)
        epochs, values = zip(*curve, strict=True)
        label = style.label if model == models[0] else None
        ax.plot(epochs, values, label=label, **style.line() | {"markersize": 4})
        best = int(np.argmax(values))
        ax.plot(epochs[best], values[best], "o", mfc="none", mec=INK, ms=12, mew=1.4)
    for ax, model in zip(axes, models, strict=True):
        ax.set(title=model, xlabel="epoch")
    axes[0].set_ylabel(axis)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def describe_learning_curves(curves: Curves, axis: str) -> str:
    """Text alternative of `learning_curves`, whose arguments it takes."""
    parts = []
    for (model, method), curve in curves.items():
        epoch, best = max(curve, key=lambda point: point[1])
        ends = f"best {best:.3f} at epoch {epoch}, {curve[-1][1]:.3f} at epoch {curve[-1][0]}"
        parts.append(f"{model}, {method_style(method).label}: {ends}")
    return f"{axis}. {'; '.join(parts)}."


def best_within(rows: Sequence[Row], counted: str, budget: float) -> Row | None:
    """Return the row with the best ``value`` among those of at most `budget` bytes, if any."""
    affordable = [row for row in rows if row[counted] <= budget]
    return max(affordable, key=lambda row: row["value"], default=None)


@themed()
def models_by_bytes(
    models: Mapping[str, Sequence[Row]], method: str, counted: str, budget: float
) -> Figure:
    """Score of a method against bytes in each model, and the best that a budget buys.

    Args:
        models: By name of the model: rows of a sweep, with ``method``, ``value``, ``value_low``,
            ``value_high`` and the bytes.
        method: The compressor; its points are joined to the full table's, the last on the right.
        counted: Column of the bytes, ``"nbytes"`` (table) or ``"total_nbytes"`` (whole model).
        budget: Bytes.

    Returns:
        The figure. The axes are the same for every method and budget.

    Raises:
        ValueError: There is no model, or none has rows of the method.
    """
    lines = {name: _line(rows, method, counted) for name, rows in models.items()}
    if not any(len(line) > 1 for line in lines.values()):
        raise ValueError(f"no model has rows of {method!r}")
    figure, (ax,) = new_figure(7.8, 4.8)
    for (name, line), look in zip(lines.items(), _LOOKS, strict=False):
        nbytes = [row[counted] for row in line]
        ax.plot(nbytes, [row["value"] for row in line], **look, mfc="white", label=name)
        low, high = ([row[f"value_{end}"] for row in line] for end in ("low", "high"))
        ax.fill_between(nbytes, low, high, color=look["color"], alpha=0.15, lw=0)
        full = line[-1]
        ax.plot(full[counted], full["value"], look["marker"], color=look["color"], ms=9)
        best = best_within(line, counted, budget)
        if best is not None:
            at = best[counted], best["value"]
            ax.plot(*at, "o", mfc="none", mec=INK, ms=16, mew=1.6)
            note(ax, f"{best['value']:.3f}", at, (0, 11), ha="center")
    ax.axvline(budget, color=INK, lw=1.2, ls=":")
    every = [row for rows in models.values() for row in rows if row[counted] > 0]
    ends = np.array([row[counted] for row in every])
    values = np.array([row["value"] for row in every])
    ax.set(xscale="log", xlim=(ends.min() / 1.3, ends.max() * 1.3))
    ax.set_ylim(values.min() - 0.01, values.max() + 0.02)
    plain_axis(ax.xaxis, lambda x, _: in_bytes(x))
    what = "the table" if counted == "nbytes" else "the whole model"
    ax.set(xlabel=f"bytes of {what}; filled: full table; dotted: budget", ylabel="score")
    ax.set_title(f"{method_style(method).label}: what {in_bytes(budget)} buys")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def describe_models_by_bytes(
    models: Mapping[str, Sequence[Row]], method: str, counted: str, budget: float
) -> str:
    """Text alternative of `models_by_bytes`, whose arguments it takes."""
    what = "table" if counted == "nbytes" else "whole model"
    text = [f"{method_style(method).label}, {in_bytes(budget)} for the {what}."]
    for name, rows in models.items():
        best = best_within(_line(rows, method, counted), counted, budget)
        found = (
            "nothing fits"
            if best is None
            else f"best {best['value']:.4f} with {in_bytes(best[counted])} ({_kind(best)})"
        )
        text.append(f"{name}: {found}.")
    return " ".join(text)


def _kind(row: Row) -> str:
    return "full table" if row["method"] == "full" else f"{row['ratio']:g}x"


def _line(rows: Sequence[Row], method: str, counted: str) -> list[Row]:
    """Rows of a method and the full table's, by bytes."""
    chosen = [row for row in rows if row["method"] in (method, "full")]
    return sorted(chosen, key=lambda row: row[counted])
