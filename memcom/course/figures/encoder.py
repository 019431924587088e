"""Figures about a compressed sentence encoder: error against retrieval, and near texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from memcom._check import choice
from memcom._text import in_bytes
from memcom.course.figures._shared import note
from memcom.plots.theme import (
    FAINT,
    INK,
    PALETTE,
    method_style,
    new_figure,
    plain_axis,
    spread,
    themed,
)

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
        points: For each table ``label``; ``method``, a spec; ``ratio``; ``error``, squared, as a
            share of the table's squares; ``kept``, the share of nearest neighbours that stay;
            ``accuracy``.
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
    ordered = sorted(points, key=lambda point: point["kept"])
    heights = spread([point["kept"] for point in ordered], 0.055)
    for point, height in zip(ordered, heights, strict=True):
        look = method_style(point["method"])
        for ax, what in ((left, "kept"), (right, "accuracy")):
            ax.plot(
                point["error"], point[what], look.marker,
                color=look.color, fillstyle=look.fill, ms=8,
            )  # fmt: skip
        to = point["error"] + (0.06 if point["error"] < 0.5 else -0.06)
        left.plot([point["error"], to], [point["kept"], height], color=FAINT, lw=1, zorder=1)
        side = "left" if to > point["error"] else "right"
        name = f"{point['label']} {point['ratio']:.0f}×"
        left.text(
            to + (0.01 if side == "left" else -0.01), height, name, ha=side, va="center", fontsize=9
        )
    right.axhspan(full_accuracy - interval, full_accuracy + interval, color=FAINT, alpha=0.35, lw=0)
    right.axhline(full_accuracy, color=INK, lw=1.2, ls=":")
    note(right, "full table", (0, full_accuracy), (4, 4), fontsize=9)
    left.set(ylabel="of the 10 nearest, kept", ylim=(0, 1.04))
    left.set_title("What changed")
    right.set_title("What a user sees")
    right.set(ylabel="nearest is of the same subject", ylim=(0, 1.04))
    for ax in (left, right):
        ax.set_xlabel("squared error of the table")
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.set_xlim(-0.04, 1.08)
    return figure


@themed()
def files_of_models(files: Mapping[str, tuple[int, int]]) -> Figure:
    """Draw the file of each model, the first one before compression, as a bar of two parts.

    Args:
        files: By name, from top to bottom: bytes of the table, bytes of all else.

    Returns:
        The figure. Beside a bar: its bytes, and how many times smaller than the first it is.

    Raises:
        ValueError: There is no file.
    """
    if not files:
        raise ValueError("files_of_models needs at least one file")
    figure, (ax,) = new_figure(8.2, 1.4 + 0.42 * len(files))
    first = sum(next(iter(files.values())))
    for y, (words, rest) in enumerate(files.values()):
        once = y == 0
        ax.barh(y, rest, 0.66, color=FAINT, label="all else" if once else None)
        ax.barh(
            y, words, 0.66, left=rest, color=PALETTE[0], hatch="////", edgecolor="white",
            lw=0.6, label="the table" if once else None,
        )  # fmt: skip
        text = in_bytes(words + rest) + ("" if once else f", {first / (words + rest):.2f}×")
        ax.text(words + rest + 0.01 * first, y, text, va="center", fontsize=9.5)
    ax.set_yticks(range(len(files)), list(files))
    ax.set(ylim=(len(files) - 0.5, -0.5), xlim=(0, 1.12 * first), xlabel="bytes of the file")
    plain_axis(ax.xaxis, lambda x, _: in_bytes(x))
    ax.grid(axis="y", visible=False)
    ax.set_title("The file of the model")
    figure.legend(loc="outside lower center", ncols=2)
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
