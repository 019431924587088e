"""Tasks side by side, and where the bytes of a model with many categorical fields are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from memcom._text import in_bytes
from memcom.budget import BudgetError, Plan, plan_tables
from memcom.plots.theme import FAINT, INK, method_style, new_figure, plain_axis, themed

# Number of ids of the 26 fields of the Criteo Kaggle file, as in the DLRM reference code.
# fmt: off
CRITEO_FIELDS: Mapping[str, int] = {
    f"C{number}": size
    for number, size in enumerate((
        1_460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5_683, 8_351_593,
        3_194, 27, 14_992, 5_461_306, 10, 5_652, 2_173, 4, 7_046_547, 18, 15, 286_181, 105,
        142_572,
    ), start=1)
}
# fmt: on


def gain_kept(score: float, control: float, full: float) -> float:
    """Share of the full table's gain over a control that is kept; works in either direction.

    Args:
        score: Metric of a compressed table: nDCG, accuracy, log loss, ...
        control: The same of a model that knows no ids.
        full: The same of the full table.

    Returns:
        1 where the score is that of the full table, 0 where it is the control's; either may be
        passed.

    Raises:
        ValueError: The full table gained nothing, so there is nothing to keep.
    """
    if full == control:
        raise ValueError(f"control and full table both score {full}; there is no gain to keep")
    return (score - control) / (full - control)


@themed()
def gains_by_task(
    scores: Mapping[str, Mapping[str, Sequence[float]]], controls: Mapping[str, str]
) -> Figure:
    """One panel a task, one row a method, one mark a seed, on the axis of `gain_kept`.

    Args:
        scores: By task, by method: the metric, one value a seed. Each task has ``"full"``.
        controls: By task: its method that is the control.

    Returns:
        The figure. The full table's mean lies at 100 %, the control's at 0 %.

    Raises:
        ValueError: There is no task, or a task lacks its control or the full table.
    """
    if not scores:
        raise ValueError("scores must hold at least one task")
    for task, found in scores.items():
        missing = {"full", controls[task]} - found.keys()
        if missing:
            raise ValueError(f"{task} lacks {', '.join(sorted(missing))}")
    shown = [
        {m: v for m, v in found.items() if m not in ("full", controls[task])}
        for task, found in scores.items()
    ]
    names = list(dict.fromkeys(name for found in shown for name in found))
    figure, axes = new_figure(9.4, 1.6 + 0.42 * len(names), len(scores), sharex=True)
    for ax, (task, found), few in zip(axes, scores.items(), shown, strict=True):
        control, full = (fmean(found[name]) for name in (controls[task], "full"))
        ax.axvline(0, color=FAINT, lw=1.6, ls=":")
        ax.axvline(1, color=INK, lw=1.6)
        for method, values in few.items():
            kept = [gain_kept(value, control, full) for value in values]
            y, look = names.index(method), method_style(method).point()
            if not look["marker"]:  # elsewhere a control is a line without marker
                look |= {"marker": "|", "markeredgecolor": INK, "markeredgewidth": 2}
            ax.plot([0, fmean(kept)], [y, y], color=FAINT, lw=1.0, zorder=1)
            ax.plot(kept, [y] * len(kept), ls="", ms=8, label=method, clip_on=False, **look)
        ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="gain kept")
        labels = [method_style(name).label for name in names] if ax is axes[0] else []
        ax.set_yticks(range(len(names)), labels or [""] * len(names))
        ax.tick_params(axis="y", length=0)
        plain_axis(ax.xaxis, lambda x, _: f"{100 * x:.0f} %")
        ax.set_title(f"{task}\n{control:.3f} → {full:.3f}")
    low, high = axes[0].get_xlim()
    axes[0].set_xlim(min(low, -0.1), max(high, 1.1))
    axes[0].set_xticks([0, 0.5, 1])
    return figure


@themed()
def field_bytes(
    cardinalities: Mapping[str, int], embedding_dim: int, method: str, ratio: float, threshold: int
) -> Figure:
    """Bytes of every field's table, full and as planned by the threshold rule.

    Args:
        cardinalities: Number of ids of each field.
        embedding_dim: Width of the vectors.
        method: Registry name of the compressor of the large fields.
        ratio: Of all tables together.
        threshold: Fields of at most this many ids keep a full table.

    Returns:
        The figure, largest field on top; full tables alone where the method cannot be so small.
    """
    plans, fault = _plans(tuple(cardinalities.items()), embedding_dim, method, ratio, threshold)
    order = sorted(cardinalities, key=lambda field: -cardinalities[field])
    total = sum(planned.nbytes for planned in plans.values())
    look = method_style(method).point()
    stays_full: Any = {"marker": "*", "mfc": INK, "mec": INK}
    hollow: Any = {"marker": "o", "mfc": "none", "mec": INK}
    figure, (ax,) = new_figure(8.2, 1.5 + 0.27 * len(order))
    for y, field in enumerate(order):
        full = 4 * embedding_dim * cardinalities[field]
        text = f"{cardinalities[field]:,} ids"
        if plans:
            stored = plans[field].nbytes
            ax.plot([stored, full], [y, y], color=FAINT, lw=1.2, zorder=1)
            marks = look if cardinalities[field] > threshold else stays_full
            ax.plot([stored], [y], ls="", ms=8, zorder=3, **marks)
            text += f", {in_bytes(stored)}, {100 * stored / total:.0f} %"
        ax.plot([full], [y], ls="", ms=9, zorder=2, **hollow)
        ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    compressed = sum(size > threshold for size in cardinalities.values())
    if 0 < compressed < len(order):
        ax.axhline(compressed - 0.5, color=INK, lw=1, ls="--")
    ax.set_yticks(range(len(order)), order)
    ax.set(xscale="log", ylim=(len(order) - 0.4, -0.6), xlabel="bytes of the field's table")
    plain_axis(ax.xaxis, lambda x, _: in_bytes(x))
    legend = (hollow, "full table"), (stays_full, "stays full"), (look, method_style(method).label)
    handles = [Line2D([], [], ls="", label=label, **mark) for mark, label in legend]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    heading = "ids, bytes stored, share" if plans else "ids"
    ax.text(1.02, 1.01, heading, transform=ax.transAxes, va="bottom", fontsize=9, color=FAINT)
    outcome = "out of reach" if fault else f"{in_bytes(total)} in all"
    ax.set_title(f"{ratio:g}×, full up to {threshold:,} ids: {outcome}")
    return figure


def describe_field_bytes(
    cardinalities: Mapping[str, int], embedding_dim: int, method: str, ratio: float, threshold: int
) -> str:
    """Text alternative of `field_bytes`, whose arguments it takes."""
    plans, fault = _plans(tuple(cardinalities.items()), embedding_dim, method, ratio, threshold)
    full = {field: 4 * embedding_dim * size for field, size in cardinalities.items()}
    largest = max(full, key=lambda field: full[field])
    head = (
        f"{len(full)} fields of width {embedding_dim} take {sum(full.values()):,} bytes in full, "
        f"{100 * full[largest] / sum(full.values()):.0f} % of them in {largest} alone. "
    )
    if fault:
        return f"{head}{ratio:g}x with threshold {threshold:,} is out of reach: {fault}"
    small = [field for field, size in cardinalities.items() if size <= threshold]
    stored = sum(planned.nbytes for planned in plans.values())
    kept = sum(full[field] for field in small)
    text = f"{head}{method} stores {stored:,}. {len(small)} fields of at most {threshold:,} ids "
    text += f"stay full and take {kept:,} of these, {100 * kept / stored:.0f} %"
    if len(small) < len(full):
        text += f"; the others are compressed {plans[largest].compression_ratio:.3g}x"
    return text + "."


@lru_cache(maxsize=256)
def _plans(
    cardinalities: tuple[tuple[str, int], ...],
    embedding_dim: int,
    method: str,
    ratio: float,
    threshold: int,
) -> tuple[dict[str, Plan], str]:
    """Return plans by field and "", or none and the reason."""
    sizes = dict(cardinalities)
    try:
        return plan_tables(method, sizes, embedding_dim, ratio=ratio, threshold=threshold), ""
    except BudgetError as error:
        return {}, str(error)
