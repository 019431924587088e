"""Caveats printed above each results table: little signal, few epochs, a narrow grid, old files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from memcom.embeddings import notes_on
from memcom.sweep.plan import Table
from memcom.sweep.rows import Row
from memcom.sweep.store import Store


def caveats(table: Table, rows: Sequence[Row]) -> list[str]:
    """Return the sentences to print above a table; the first is always about the controls."""
    found = (
        about_signal(table, rows),
        about_epochs(rows),
        *(about_ends(name, rows) for name in table.tune.space),
        about_seals(rows),
        *notes_on(row.method for row in rows),
    )
    return [each for each in found if each]


def about_signal(table: Table, rows: Sequence[Row]) -> str:
    """Say whether the full table beats the controls; if it does not, losses mean little."""
    full = next(row for row in rows if row.method == "full")
    if not any(row.method in table.task.controls for row in rows):
        return "WARNING: without a control nothing tells how much signal this task carries."
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


def about_ends(name: str, rows: Sequence[Row]) -> str:
    """Count the rows whose value of a tuned option is an end of those that were tried."""
    chosen = [row.tuned[name] for row in rows if name in row.tuned]
    found = Counter(choice.end for choice in chosen if choice.value is not None)
    option = name.replace("_", " ")
    ends = [
        f"{found[end]} {text}"
        for end, text in (
            ("only", f"had one {option}"),
            ("lowest", f"chose the lowest {option} of those tried"),
            ("highest", f"chose the highest {option}"),
        )
        if found[end]
    ]
    if not ends:
        return ""
    return (
        f"Of {found.total()} rows, {', '.join(ends)}: a better one may lie beyond ({name}_end in "
        "summary.csv)."
    )


def about_seals(rows: Sequence[Row]) -> str:
    """Count the trials whose files are of the format that has no digest of its content."""
    records = [record for row in rows for record in row.records]
    old = sum(not record.sealed for record in records)
    if not old:
        return ""
    return (
        f"{old} of {len(records)} trials are files of an older version, without a digest of their "
        "content: a change in such a file cannot be noticed."
    )


def about_former(table: Table, store: Store) -> str:
    """Name the trials of this folder that belong to other content of the same data set."""
    found = store.former(table.source, table.cells[0].first.task)
    if not found:
        return ""
    listed = ", ".join(f"{number} with checksum {sum_[:12]}" for sum_, number in found.items())
    return (
        f"WARNING: {store.folder} also holds trials of other content under the name "
        f"{table.source.name} ({listed}; this table is of {table.source.checksum[:12]}). The data "
        "has changed, or other data has its name. Those trials are not in this table."
    )
