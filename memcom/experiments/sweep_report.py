"""The report of a sweep: Markdown to read, tidy CSV to compute with, and a picture.

DIR/report.md        a table per data set and combination of options, failures in full
DIR/summary.csv      one row per method and budget
DIR/pairs.csv        every two methods at one budget, against each other
DIR/trials.csv       one row per trial, with versions, machine and time
DIR/<data>.png       quality against the ratio of bytes really stored
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from memcom.experiments.files import write_csv, write_text
from memcom.experiments.planning import Table
from memcom.experiments.records import Record
from memcom.experiments.store import Store
from memcom.experiments.summary import Summary, compare_pairs, records_of, summarise

# draw(rows, quality=..., label=...) -> a Matplotlib figure, as memcom.plots.quality_against_ratio
Draw = Callable[..., Any]


def write_report(
    tables: Sequence[Table], folder: Path | str, *, draw: Draw | None = None
) -> dict[str, Path]:
    """Write the report of what a folder holds, finished or not.

    Args:
        tables: From `sweep`, or `tables` of a spec.
        folder: The folder of the trials.
        draw: Draws a picture per table, such as `memcom.plots.quality_against_ratio`.

    Returns:
        The files by kind: ``"report"``, ``"summary"``, ``"pairs"``, ``"trials"``, and
        ``"picture ..."``.

    Raises:
        OSError: A file cannot be written.
    """
    store, folder = Store(folder), Path(folder)
    text = ["# Compression sweep", ""]
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    written: dict[str, Path] = {}
    for table in tables:
        summaries, records = summarise(table, store), records_of(table, store)
        picture = None
        plain = (*table.task.controls, "full")  # a picture of these alone has no axis
        if draw is not None and any(row.seeds and row.method not in plain for row in summaries):
            picture = _picture(table, summaries, folder, draw)
            written[f"picture {table.label}"] = picture
        text += [*table_lines(table, summaries, records, picture), ""]
        common = {"data": table.data.name, "task": table.task.name, **table.varied}
        rows += [common | row.tidy(table.task.metric) for row in summaries]
        pairs += [common | row for row in compare_pairs(table, store)]
        trials += [_tidy_trial(table, record) for record in records]
    written["report"] = write_text(folder / "report.md", "\n".join(text).rstrip() + "\n")
    written["summary"] = write_csv(folder / "summary.csv", _filled(rows))
    written["pairs"] = write_csv(folder / "pairs.csv", pairs)
    written["trials"] = write_csv(folder / "trials.csv", _filled(trials))
    return written


def table_lines(
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
        f"against the full table, paired by {table.task.unit}, adjusted by Holm for all rows.",
        f"- {margin(table, rows)}",
        "",
    ]
    if picture is not None:
        lines += [f"![{label} against compression on {table.label}]({picture.name})", ""]
    head = ["method", "ratio", "bytes", "total bytes", label, "95 %", "±", "loss %", "95 %", "p"]
    head += ["rate", "seeds"]
    lines += [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    for budget, group in groupby(rows, key=lambda row: (row.ratio, row.budget)):
        lines.append(f"**{_budget(budget)}**" + " | " * (len(head) - 1))
        lines += [" | ".join(_cells(row)) for row in group]
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


def margin(table: Table, rows: Sequence[Summary]) -> str:
    """One sentence: whether the full table is above the controls, so that losses mean anything."""
    full = next(row for row in rows if row.method == "full")
    controls = [row for row in rows if row.method in table.task.controls and row.seeds]
    if not full.seeds or not controls:
        return "WARNING: the full table or the controls have no score to compare with."
    better = [row for row in controls if row.loss.low > 0]
    said = ", ".join(f"{row.method} loses {_percent(row.loss.value)} %" for row in controls)
    if len(better) == len(controls):
        return f"The full table is clearly above the controls: {said}."
    return (
        f"WARNING: the full table is not clearly above the controls ({said}): this task carries "
        "little signal, and differences between compressors mean little."
    )


def metric_label(table: Table) -> str:
    """What to call the metric, with the options in it."""
    return (table.task.label or table.task.metric).format(**table.options)


def duration(seconds: float) -> str:
    """Seconds in a form to read: ``48 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _cells(row: Summary) -> list[str]:
    if not row.seeds:
        return [row.method, row.status.partition(":")[0]] + [""] * 10
    is_full = row.method == "full"
    return [
        row.method,
        "-" if math.isnan(row.compression_ratio) else f"{row.compression_ratio:.2f}",
        f"{row.nbytes:,}",
        f"{row.total_nbytes:,}",
        f"{row.value.value:.4f}",
        _span(row.value.low, row.value.high, "{:.4f}"),
        "-" if math.isnan(row.half_width) else f"{row.half_width:.4f}",
        "0" if is_full else _percent(row.loss.value),
        "" if is_full else _span(100 * row.loss.low, 100 * row.loss.high, "{:+.1f}"),
        "" if math.isnan(row.p_holm) else f"{row.p_holm:.2g}",
        "-" if math.isnan(row.learning_rate) else f"{row.learning_rate:g}",
        str(row.seeds),
    ]


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


def _tidy_trial(table: Table, record: Record) -> dict[str, Any]:
    setting, outcome = record.job.setting, record.outcome
    row: dict[str, Any] = {
        "data": table.data.name,
        "task": table.task.name,
        **table.varied,
        "method": setting.method,
        "ratio": setting.ratio,
        "budget": setting.nbytes,
        "learning_rate": setting.learning_rate,
        "seed": setting.seed,
        "status": "failed" if outcome is None else "finished",
        "failed": record.failed,
        "seconds": record.seconds,
        "key": record.job.key,
        **record.about,
    }
    if outcome is None:
        return row
    nbytes, full = outcome.size
    return row | {
        "nbytes": nbytes,
        "compression_ratio": full / nbytes if nbytes else None,
        "total_nbytes": nbytes + outcome.output_nbytes,
        f"valid_{table.task.metric}": outcome.valid,
        "best_epoch": outcome.best_epoch,
        **outcome.metrics,
    }


def _filled(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the fields of all of them, None where one has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _picture(table: Table, rows: Sequence[Summary], folder: Path, draw: Draw) -> Path:
    metric = table.task.metric
    points = []
    for row in rows:
        if row.seeds:
            point = {k: v for k, v in row.tidy(metric).items() if v == v and v is not None}
            points.append(point | {"method": row.method})
    figure = draw(points, quality=metric, label=metric_label(table))
    name = re.sub(r"[^A-Za-z0-9.=-]+", "_", f"{table.label} {table.task.name}")
    path = folder / f"{name}.png"
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png", dpi=120)
    os.replace(temporary, path)
    return path
