"""Caveats printed above each results table: little signal, few epochs, a narrow grid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from memcom.sweep.plan import Table
from memcom.sweep.rows import Row


def caveats(table: Table, rows: Sequence[Row]) -> list[str]:
    """Return the sentences to print above a table; the first is always about the controls."""
    return [
        each for each in (about_signal(table, rows), about_epochs(rows), about_rates(rows)) if each
    ]


def about_signal(table: Table, rows: Sequence[Row]) -> str:
    """Say whether the full table beats the controls; if it does not, losses mean little."""
    full = next(row for row in rows if row.method == "full")
    controls = [row for row in rows if row.method in table.task.controls and row.seeds]
    if not full.seeds or not controls:
        return "WARNING: the full table or the controls have no score to compare with."
    losses = ", ".join(f"{row.method} loses {100 * row.loss.value:+.1f} %" for row in controls)
    if all(row.loss.low > 0 for row in controls):
        return f"The full table is clearly above the controls: {losses}."
    return (
        f"WARNING: the full table is not clearly above the controls ({losses}): this task carries "
        "little signal, and differences between compressors mean little."
    )


def about_epochs(rows: Sequence[Row]) -> str:
    """Count the rows that were still improving at the last epoch, in most of their seeds."""
    trained = [row for row in rows if row.seeds and not math.isnan(row.learning_rate)]
    late = [row for row in trained if 2 * row.last_epoch > row.seeds]
    if not late:
        return ""
    with_full = " with the full table" if any(row.method == "full" for row in late) else ""
    return (
        f"{len(late)} of {len(trained)} rows{with_full} were still improving when training ended: "
        "more epochs may change them (last_epoch in summary.csv)."
    )


def about_rates(rows: Sequence[Row]) -> str:
    """Count the rows whose learning rate is an end of its grid."""
    found = Counter(row.rate_end for row in rows if row.seeds and not math.isnan(row.learning_rate))
    ends = [
        f"{found[end]} {text}"
        for end, text in (
            ("only", "had one learning rate"),
            ("lowest", "chose the lowest of theirs"),
            ("highest", "chose the highest"),
        )
        if found[end]
    ]
    if not ends:
        return ""
    return (
        f"Of {found.total()} rows, {', '.join(ends)}: a better rate may lie beyond (rate_end in "
        "summary.csv)."
    )
