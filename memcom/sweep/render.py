"""A table of a sweep as text: a section of Markdown to keep, aligned lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from memcom.sweep.doubts import doubts
from memcom.sweep.planning import Table
from memcom.sweep.records import Record
from memcom.sweep.summary import Summary

TIMES = {"lookup_time": "lookup", "step_time": "step"}  # among the other metrics -> heading


def markdown_section(
    table: Table,
    rows: Sequence[Summary],
    records: Sequence[Record],
    picture: Path | None = None,
) -> list[str]:
    """The section of one table as lines of Markdown."""
    label = metric_label(table)
    total = sum(row.seconds for row in rows)
    options = ", ".join(f"{name} {value}" for name, value in table.options.items())
    lines = [
        f"## {table.label}, {table.task.name}",
        "",
        f"- Data: {table.data.name}, checksum {table.data.checksum[:12]}. Options: {options}.",
        f"- {label} on the test part, {'higher' if table.task.higher_is_better else 'lower'} is "
        f"better; learning rate and epoch chosen on validation. {len(records)} trials, "
        f"{duration(total)} of computing. Code {_versions(records)}.",
        "- Ratio and bytes are those really stored in the input embedding, at most what was asked "
        "for; total is the whole model. Loss is relative to the full table, positive is worse. "
        f"95 % intervals are bootstrapped over {table.task.unit}s and seeds, or where the metric "
        "has no value for each, Student's over seeds. ± is Student's over seeds; p is Wilcoxon's "
        f"against the full table, paired by {table.task.unit}, adjusted by Holm for all rows. "
        "Lookup and step, where they were taken, are times over the full table's, one thread.",
        *(f"- {doubt}" for doubt in doubts(table, rows)),
        "",
    ]
    if picture is not None:
        lines += [f"![{label} against compression on {table.label}]({picture.name})", ""]
    cells = [_cells(row, label) for row in rows]
    head = _headings(cells)
    lines += [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    for budget, group in _by_budget(rows, cells):
        lines.append(f"**{budget}**" + " | " * (len(head) - 1))
        lines += [" | ".join(line.get(name, "") for name in head) for _, line in group]
    if any(row.seeds and row.seeds < 3 for row in rows if row.method != "popular"):
        lines += ["", "Fewer than three seeds: the intervals say little about training."]
    troubled = [row for row in rows if row.status != "finished"]
    if troubled:
        lines += ["", "Not finished:", ""]
        lines += [f"- `{row.method}` {_asked(row)}: {row.status}" for row in troubled]
    for record in records:
        if record.outcome is None:
            setting = record.job.setting
            lines += [
                "",
                f"<details><summary>{setting.method}, rate {setting.learning_rate}, seed ",
            ]
            lines[-1] += f"{setting.seed}: {record.failed}</summary>"
            lines += ["", "```", record.traceback.rstrip(), "```", "", "</details>"]
    return lines


def terminal_lines(table: Table, rows: Sequence[Summary]) -> list[str]:
    """The rows of one table in aligned columns, without what only the Markdown has room for."""
    label = metric_label(table)
    cells = [_cells(row, label) for row in rows]
    head = [h for h in _headings(cells) if h not in ("total bytes", f"{label} 95 %", "seeds")]
    done = [line for line, row in zip(cells, rows, strict=True) if row.seeds]
    width = {name: max([len(name), *(len(line.get(name, "")) for line in done)]) for name in head}
    width["method"] = max(len(line["method"]) for line in cells)

    def aligned(line: Mapping[str, str]) -> str:
        numbers = (line.get(name, "").rjust(width[name]) for name in head[1:])
        return "  ".join([line["method"].ljust(width["method"]), *numbers])

    first, *more = doubts(table, rows)
    lines = [f"{table.label}: {first}", *more, aligned({name: name for name in head})]
    for budget, group in _by_budget(rows, cells):
        lines += ["", budget]
        for row, line in group:
            text = aligned(line) if row.seeds else line["method"].ljust(width["method"])
            lines.append((text if row.status == "finished" else f"{text}  {row.status}").rstrip())
    return lines


def metric_label(table: Table) -> str:
    """What to call the metric, with the options in it."""
    return (table.task.label or table.task.metric).format(**table.options)


def duration(seconds: float) -> str:
    """Seconds in a form to read: ``48 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _cells(row: Summary, label: str) -> dict[str, str]:
    """What there is to show of a row, by heading; ``label`` is that of the metric."""
    if not row.seeds:
        return {"method": row.method, "ratio": row.status.partition(":")[0]}
    is_full = row.method == "full"
    return {
        "method": row.method,
        "ratio": "-" if math.isnan(row.compression_ratio) else f"{row.compression_ratio:.2f}",
        "bytes": f"{row.nbytes:,}",
        "total bytes": f"{row.total_nbytes:,}",
        label: f"{row.value.value:.4f}",
        f"{label} 95 %": _span(row.value.low, row.value.high, "{:.4f}"),
        "±": "-" if math.isnan(row.half_width) else f"{row.half_width:.4f}",
        "loss %": "0" if is_full else _percent(row.loss.value),
        "loss 95 %": "" if is_full else _span(100 * row.loss.low, 100 * row.loss.high, "{:+.1f}"),
        "p": "" if math.isnan(row.p_holm) else f"{row.p_holm:.2g}",
        "rate": "-" if math.isnan(row.learning_rate) else f"{row.learning_rate:g}",
        "seeds": str(row.seeds),
        **{TIMES[name]: f"{row.others[name]:.2f}" for name in TIMES if name in row.others},
    }


def _headings(cells: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for line in cells for name in line))


def _by_budget(
    rows: Sequence[Summary], cells: Sequence[dict[str, str]]
) -> Iterator[tuple[str, Iterator[tuple[Summary, dict[str, str]]]]]:
    """Rows with their cells, under what was asked of them."""
    both = zip(rows, cells, strict=True)
    for budget, group in groupby(both, key=lambda each: (each[0].ratio, each[0].budget)):
        yield _budget(budget), group


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:+.1f}"


def _span(low: float, high: float, form: str) -> str:
    return "-" if math.isnan(low) else f"{form.format(low)} to {form.format(high)}"


def _budget(budget: tuple[float | None, int | None]) -> str:
    ratio, nbytes = budget
    if nbytes is not None:
        return f"at most {nbytes:,} bytes"
    return "controls and full table" if ratio is None else f"ratio {ratio:g}"


def _asked(row: Summary) -> str:
    return (
        "" if row.ratio is None and row.budget is None else f"({_budget((row.ratio, row.budget))})"
    )


def _versions(records: Sequence[Record]) -> str:
    found = {f"{r.about.get('memcom')} {r.about.get('commit', '')}".strip() for r in records}
    return ", ".join(sorted(found)) or "unknown"
