"""The report of a sweep: Markdown to read, tidy CSV to compute with, and a picture.

DIR/report.md        a table per data set and combination of options, failures in full
DIR/summary.csv      one row per method and budget
DIR/pairs.csv        every two methods at one budget, against each other
DIR/trials.csv       one row per trial, with versions, machine and time
DIR/<data>.png       quality against the ratio of bytes really stored
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from memcom._files import write_csv, write_text
from memcom.sweep.planning import Table
from memcom.sweep.records import Record
from memcom.sweep.render import markdown_section, metric_label
from memcom.sweep.store import Store
from memcom.sweep.summary import Summary, compare_pairs, records_of, summarise

# draw(rows, quality=..., label=...) -> a Matplotlib figure, as memcom.plots.quality_against_ratio
Draw = Callable[..., Any]


class Report(NamedTuple):
    """What was written.

    Attributes:
        files: By kind: ``"report"``, ``"summary"``, ``"pairs"``, ``"trials"``, and
            ``"picture ..."``.
        rows: The rows of each table.
    """

    files: dict[str, Path]
    rows: list[list[Summary]]


def write_report(
    tables: Sequence[Table], folder: Path | str, *, draw: Draw | None = None
) -> Report:
    """Write the report of what a folder holds, finished or not.

    Args:
        tables: From `sweep`, or `tables` of a spec.
        folder: The folder of the trials.
        draw: Draws a picture per table, such as `memcom.plots.quality_against_ratio`.

    Returns:
        The files and what they say.

    Raises:
        OSError: A file cannot be written.
    """
    store, folder = Store(folder), Path(folder)
    text = ["# Compression sweep", ""]
    found: list[list[Summary]] = []
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    written: dict[str, Path] = {}
    for table in tables:
        summaries, records = summarise(table, store), records_of(table, store)
        found.append(summaries)
        picture = None
        plain = (*table.task.controls, "full")  # a picture of these alone has no axis
        if draw is not None and any(row.seeds and row.method not in plain for row in summaries):
            picture = _picture(table, summaries, folder, draw)
            written[f"picture {table.label}"] = picture
        text += [*markdown_section(table, summaries, records, picture), ""]
        common = {"data": table.data.name, "task": table.task.name, **table.varied}
        rows += [common | row.tidy(table.task.metric) for row in summaries]
        pairs += [common | row for row in compare_pairs(table, store)]
        trials += [_tidy_trial(table, record) for record in records]
    written["report"] = write_text(folder / "report.md", "\n".join(text).rstrip() + "\n")
    written["summary"] = write_csv(folder / "summary.csv", _filled(rows))
    written["pairs"] = write_csv(folder / "pairs.csv", pairs)
    written["trials"] = write_csv(folder / "trials.csv", _filled(trials))
    return Report(written, found)


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
