"""What a reader of a table has to know before its losses mean anything.

Whether the full table is above the controls at all; which rows might be better after more training;
which chose a learning rate beyond which a better one may lie.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from memcom.sweep.planning import Table
from memcom.sweep.summary import Summary


def doubts(table: Table, rows: Sequence[Summary]) -> list[str]:
    """Sentences to put before a table's rows; the first is always about the controls."""
    return [each for each in (signal(table, rows), cut_short(rows), rates(rows)) if each]


def signal(table: Table, rows: Sequence[Summary]) -> str:
    """One sentence: whether the full table is above the controls, so that losses mean anything."""
    full = next(row for row in rows if row.method == "full")
    controls = [row for row in rows if row.method in table.task.controls and row.seeds]
    if not full.seeds or not controls:
        return "WARNING: the full table or the controls have no score to compare with."
    better = [row for row in controls if row.loss.low > 0]
    said = ", ".join(f"{row.method} loses {100 * row.loss.value:+.1f} %" for row in controls)
    if len(better) == len(controls):
        return f"The full table is clearly above the controls: {said}."
    return (
        f"WARNING: the full table is not clearly above the controls ({said}): this task carries "
        "little signal, and differences between compressors mean little."
    )


def cut_short(rows: Sequence[Summary]) -> str:
    """Which rows were still getting better when training ended, in most of their seeds."""
    trained = [row for row in rows if row.seeds and not math.isnan(row.learning_rate)]
    late = [row for row in trained if 2 * row.last_epoch > row.seeds]
    if not late:
        return ""
    with_full = " with the full table" if any(row.method == "full" for row in late) else ""
    return (
        f"{len(late)} of {len(trained)} rows{with_full} were still getting better when training "
        "ended: more epochs may change them (last_epoch in summary.csv)."
    )


def rates(rows: Sequence[Summary]) -> str:
    """How many rows chose a learning rate at an end of their grid."""
    found = Counter(row.rate_end for row in rows if row.seeds and not math.isnan(row.learning_rate))
    ends = [
        f"{found[end]} {said}"
        for end, said in (
            ("only", "had one learning rate and no choice"),
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
