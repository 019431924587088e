"""A results table as text: a section of Markdown for the report, aligned columns for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from memcom import _text
from memcom.sweep.caveats import caveats
from memcom.sweep.plan import Table
from memcom.sweep.rows import Row
from memcom.sweep.trial import Record
from memcom.sweep.tune import flattened

TIMES = {"lookup_time": "lookup", "step_time": "step"}  # metric -> heading
STATUS = ""  # heading of what is wrong with a row, in a terminal


def markdown_section(
    table: Table, rows: Sequence[Row], picture: Path | None = None, notes: Sequence[str] = ()
) -> str:
    """Return the section of one table as Markdown, ending in the tracebacks of failed trials.

    Args:
        table: The plan.
        rows: Its rows.
        picture: The drawn picture.
        notes: Sentences to print after the caveats.

    Returns:
        The lines.
    """
    label, title = _text.markdown(table.metric_label), _text.markdown(table.label)
    task, data = table.task, _text.markdown(table.source.name)
    records = [record for row in rows for record in row.records]
    every = flattened(table.options)
    fixed = {name: value for name, value in every.items() if name not in table.tune.space}
    options = _text.markdown(", ".join(f"{name} {value}" for name, value in fixed.items()))
    lines = [
        f"## {title}, {_text.markdown(task.name)}",
        "",
        f"- Data: {data}, checksum {table.source.checksum[:12]}. Options: {options}.",
        f"- {label} on the test part, {'higher' if task.higher_is_better else 'lower'} is better; "
        f"epoch and {_text.markdown(about_tuning(table))}. {len(records)} trials, "
        f"{_text.duration(sum(row.seconds for row in rows))} of computing. "
        f"Code {_text.markdown(_versions(records))}.",
        "- Ratio and bytes are those stored in the input embedding, at most what was asked for; "
        "whole model has the rest too, and how much smaller it is than with the full table. Loss "
        "is relative to the full table, positive is worse. 95 % intervals are over "
        f"{task.unit}s, by bootstrap, and over seeds, whose variance is moderated by all rows; "
        f"or Student's over seeds where the metric has no value per {task.unit}. ± is Student's "
        "over seeds; p is that of the loss's interval, adjusted by Holm for all rows. Lookup and "
        "step, where they were taken, are times over the full table's, one thread.",
        *(f"- {_text.markdown(note)}" for note in (*caveats(table, rows), *notes)),
        "",
    ]
    if picture is not None:
        lines += [f"![{label} against compression on {title}]({picture.name})", ""]
    cells = _cells(rows, table.metric_label)
    escaped = [{_text.markdown(k): _text.markdown(v) for k, v in cell.items()} for cell in cells]
    lines.append(_layout(rows, escaped, "markdown"))
    if any(row.seeds and row.seeds < 3 for row in rows if row.method not in task.untrained):
        lines += ["", "Fewer than three seeds: the intervals say little about training."]
    unfinished = [row for row in rows if row.status != "finished"]
    if unfinished:
        lines += ["", "Not finished:", ""]
        lines += [
            f"- {_text.code(row.method)} ({_budget(row)}): {_text.markdown(row.status)}"
            for row in unfinished
        ]
    for record in records:
        if record.outcome is None:
            trial = record.trial
            name = f"{trial.method}, rate {trial.learning_rate}, seed {trial.seed}"
            summary = _text.markdown(f"{name}: {record.failed}")
            lines += ["", f"<details><summary>{summary}</summary>", ""]
            lines += [_text.fenced(record.traceback), "", "</details>"]
    return "\n".join(lines)


def terminal_section(table: Table, rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """Return one table in aligned columns, without those only the Markdown has room for.

    Args:
        table: The plan.
        rows: Its rows.
        notes: Sentences to print after the caveats.

    Returns:
        The lines.
    """
    label = table.metric_label
    cells = _cells(rows, label)
    for row, cell in zip(rows, cells, strict=True):
        for name in (f"{label} 95 %", "seeds"):
            cell.pop(name, None)
        if row.status != "finished":
            cell[STATUS] = row.status
            if not row.seeds:
                cell["ratio"] = ""
    first, *more = caveats(table, rows)
    return "\n".join([f"{table.label}: {first}", *more, *notes, _layout(rows, cells, "plain")])


def about_tuning(table: Table) -> str:
    """Say what validation chose for each row, and from how many trials."""
    names = ", ".join(name.replace("_", " ") for name in table.tune.space)
    epochs = "" if table.tune.epochs is None else f" of at most {table.tune.epochs} epochs"
    if table.tune.finalists > 1:
        epochs += f", the best {table.tune.finalists} then trained to the end"
    trials = next(len(cell.grid) for cell in table.cells if cell.first.method == "full")
    apart = any(cell.first.method in table.task.references for cell in table.cells)
    return (
        f"{names} chosen on validation, for every row from {trials} trial{'s' * (trials > 1)}"
        f"{epochs} ({table.tune})" + "; references choose from grids of their own" * apart
    )


def _cells(rows: Sequence[Row], label: str) -> list[dict[str, str]]:
    """The cells of rows by heading; ``label`` is that of the metric."""
    full = next((row.total_nbytes for row in rows if row.method == "full"), 0)
    return [_row_cells(row, label, full) for row in rows]


def _row_cells(row: Row, label: str, full_nbytes: int) -> dict[str, str]:
    if not row.seeds:
        return {"method": row.method, "ratio": row.status.partition(":")[0]}
    is_full = row.method == "full"
    return {
        "method": row.method,
        "ratio": "-" if math.isnan(row.compression_ratio) else f"{row.compression_ratio:.2f}",
        "bytes": f"{row.nbytes:,}",
        "whole model": whole_model(
            row.total_nbytes, 0 if math.isnan(row.compression_ratio) else full_nbytes
        ),
        label: f"{row.value.value:.4f}",
        f"{label} 95 %": _span(row.value.low, row.value.high, "{:.4f}"),
        "±": "-" if math.isnan(row.seed_half_width) else f"{row.seed_half_width:.4f}",
        "loss %": "0" if is_full else _percent(row.loss.value),
        "loss 95 %": "" if is_full else _span(100 * row.loss.low, 100 * row.loss.high, "{:+.1f}"),
        "p": p_text(row.p_holm),
        "rate": "-" if math.isnan(row.learning_rate) else f"{row.learning_rate:g}",
        **{
            name: _value(choice.value)
            for name, choice in row.tuned.items()
            if name != "learning_rate"
        },
        "seeds": str(row.seeds),
        **{TIMES[name]: f"{row.others[name]:.2f}" for name in TIMES if name in row.others},
    }


def _layout(rows: Sequence[Row], cells: Sequence[dict[str, str]], style: str) -> str:
    """The cells as a table, with a line for each budget above its rows."""
    found: list[dict[str, str]] = []
    both = zip(rows, cells, strict=True)
    for budget, group in groupby(both, key=lambda each: _budget(each[0])):
        found += [{}, {"method": budget}] if style == "plain" else [{"method": f"**{budget}**"}]
        found += [cell for _, cell in group]
    numbers = {name for cell in cells for name in cell} - {"method", STATUS}
    text = _text.table(found, style=style, right=list(numbers))
    return "\n".join(line.rstrip() for line in text.splitlines())


def _budget(row: Row) -> str:
    if row.budget is not None:
        return f"at most {row.budget:,} bytes"
    return "controls, full table and references" if row.ratio is None else f"ratio {row.ratio:g}"


def whole_model(nbytes: int, full_nbytes: int) -> str:
    """Bytes of a whole model, and in brackets how often they go into those with the full table."""
    return f"{nbytes:,}" + (f" ({full_nbytes / nbytes:.2f}x)" if full_nbytes and nbytes else "")


def p_text(p: float) -> str:
    """A p-value, below 0.001 no more than that."""
    return "" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.2g}"


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:+.1f}"


def _span(low: float, high: float, form: str) -> str:
    return "-" if math.isnan(low) else f"{form.format(low)} to {form.format(high)}"


def _versions(records: Sequence[Record]) -> str:
    found = {f"{r.about.get('memcom')} {r.about.get('commit', '')}".strip() for r in records}
    return ", ".join(sorted(found)) or "unknown"
