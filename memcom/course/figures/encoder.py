"""Figures about a compressed sentence encoder: error against retrieval, and near texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from memcom._check import choice
from memcom.course.figures._shared import note
from memcom.plots.theme import FAINT, INK, PALETTE, method_style, new_figure, themed

SHOWN = 6
"""Neighbours that a picture has."""


class Neighbour(NamedTuple):
    """A text near to another.

    Attributes:
        text: The text.
        label: What it belongs to.
        now: Its cosine with the compressed table.
        before: Its cosine with the full table.
        kept: It was among as many nearest with the full table.
    """

    text: str
    label: str
    now: float
    before: float
    kept: bool


@themed()
def error_and_retrieval(
    points: Sequence[Mapping[str, Any]], full_accuracy: float, interval: float
) -> Figure:
    """Plot what compressed tables keep of a retrieval task over their error.

    Args:
        points: For each table ``method``, a spec; ``ratio``; ``error``, squared, as a share of the
            table's squares; ``kept``, the share of nearest neighbours that stay; ``accuracy``.
        full_accuracy: Accuracy with the full table.
        interval: Half the width of its 95 % interval.

    Returns:
        The figure: neighbours kept on the left, accuracy on the right.

    Raises:
        ValueError: There is no point.
    """
    if not points:
        raise ValueError("error_and_retrieval needs at least one point")
    figure, (left, right) = new_figure(9.6, 5.0, 2, sharex=True)
    for point in sorted(points, key=lambda point: point["error"]):
        look = method_style(point["method"])
        for ax, what in ((left, "kept"), (right, "accuracy")):
            ax.plot(point["error"], point[what], look.marker, color=look.color, ms=8, label="")
        at = point["error"], point["kept"]
        name = f"{look.label.partition(' (')[0]} {point['ratio']:.0f}×"
        beyond = point["error"] > 0.5  # no room at its right
        note(
            left, name, at, (-9 if beyond else 9, 0),
            ha="right" if beyond else "left", va="center", fontsize=9,
        )  # fmt: skip
    right.axhspan(full_accuracy - interval, full_accuracy + interval, color=FAINT, alpha=0.35, lw=0)
    right.axhline(full_accuracy, color=INK, lw=1.2, ls=":")
    note(right, "full table", (0, full_accuracy), (4, 4), fontsize=9)
    left.set(ylabel="of the 10 nearest, kept", ylim=(0, 1.04))
    right.set(ylabel="nearest is of the same subject", ylim=(0, 1.04))
    for ax in (left, right):
        ax.set_xlabel("squared error of the table")
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.set_xlim(-0.04, 1.08)
    return figure


def neighbours(
    texts: Sequence[str],
    labels: Sequence[str],
    vectors: Mapping[str, np.ndarray],
    *,
    query: str,
    table: str,
) -> tuple[str, list[Neighbour]]:
    """Find the texts nearest to one of them.

    Args:
        texts: The texts.
        labels: What each belongs to.
        vectors: By name of the table: ``(len(texts), width)``, of length 1. The first is the full
            table's.
        query: One of the texts.
        table: One of the tables.

    Returns:
        What the query belongs to, and its neighbours, nearest first.

    Raises:
        ValueError: There is no such text or table.
    """
    choice("query", query, tuple(texts))
    choice("table", table, tuple(vectors))
    at = list(texts).index(query)
    before, now = (vectors[name] @ vectors[name][at] for name in (next(iter(vectors)), table))
    old, order = (
        [int(i) for i in np.argsort(-cosines, kind="stable") if i != at][:SHOWN]
        for cosines in (before, now)
    )
    return labels[at], [
        Neighbour(texts[i], labels[i], float(now[i]), float(before[i]), i in old) for i in order
    ]


@themed()
def nearest_texts(
    texts: Sequence[str],
    labels: Sequence[str],
    vectors: Mapping[str, np.ndarray],
    *,
    query: str,
    table: str,
) -> Figure:
    """Draw the nearest neighbours of a text, and how near they were; arguments of `neighbours`."""
    label, found = neighbours(texts, labels, vectors, query=query, table=table)
    figure, (ax,) = new_figure(9.0, 3.9)
    for y, each in enumerate(found):
        same = each.label == label
        color, hatch = (PALETTE[0], "") if same else (PALETTE[3], "////")
        ax.barh(y, each.now, 0.62, color=color, hatch=hatch, edgecolor="white", lw=0.6)
        ax.plot(each.before, y, "D", color=INK, mfc="white", ms=7)
        text = f"{_short(each.text)} – {_short(each.label, 24)}{'' if each.kept else '  (new)'}"
        ax.text(1.02, y, text, va="center", fontsize=9.5, clip_on=False)
    ax.set(yticks=[], xlim=(0, 1), ylim=(len(found) - 0.4, -0.6))
    ax.set_xlabel("cosine; hatched: another subject; diamond: with the full table")
    ax.set_title(f"{_short(query)} – {_short(label, 24)}: {table}", loc="left")
    ax.grid(axis="y", visible=False)
    return figure


def describe_nearest_texts(
    texts: Sequence[str],
    labels: Sequence[str],
    vectors: Mapping[str, np.ndarray],
    *,
    query: str,
    table: str,
) -> str:
    """Text alternative of `nearest_texts`, whose arguments it takes."""
    label, found = neighbours(texts, labels, vectors, query=query, table=table)
    same, kept = sum(each.label == label for each in found), sum(each.kept for each in found)
    nearest = found[0]
    return (
        f"{query} ({label}), {table}: of the {len(found)} nearest, {kept} are those of the full "
        f"table and {same} are of the same subject. The nearest is {nearest.text} "
        f"({nearest.label}), cosine {nearest.now:.2f}, with the full table {nearest.before:.2f}."
    )


def _short(text: str, longest: int = 44) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
