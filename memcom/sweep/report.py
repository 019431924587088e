"""Write the report of a sweep: Markdown to read, CSV to compute with, and pictures.

DIR/report.md        a table per data set and combination of options, failures in full
DIR/summary.csv      one row per method and budget
DIR/pairs.csv        one row per ordered pair of methods at one budget
DIR/trials.csv       one row per trial, with versions, machine and time
DIR/<data>.png       quality against the ratio of bytes stored
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from memcom._files import write_atomically, write_csv, write_text
from memcom.sweep.caveats import about_former
from memcom.sweep.plan import Table, tuned_value
from memcom.sweep.rows import Row, summarise
from memcom.sweep.store import Store
from memcom.sweep.table_text import markdown_section
from memcom.sweep.trial import Record
from memcom.tasks._forms import split_name
from memcom.tasks.protocol import Outcome

# draw(rows, quality=..., label=...) -> a Matplotlib figure, as memcom.plots.quality_against_ratio
Draw = Callable[..., Any]


class Report(NamedTuple):
    """A written report.

    Attributes:
        files: By kind: ``"report"``, ``"summary"``, ``"pairs"``, ``"trials"``, and
            ``"picture ..."``.
        rows: The rows of each table.
        notes: Sentences about the folder, for each table.
    """

    files: dict[str, Path]
    rows: list[list[Row]]
    notes: list[list[str]]


def write_report(
    tables: Sequence[Table], folder: Path | str, *, draw: Draw | None = None
) -> Report:
    """Write the report of the trials in a folder, finished or not.

    Args:
        tables: From `run`, or `tables` of a spec.
        folder: Folder of the trials.
        draw: Draws a picture per table, such as `memcom.plots.quality_against_ratio`.

    Returns:
        The files and the rows in them.

    Raises:
        OSError: A file cannot be written.
        ValueError: A trial's file is damaged.
    """
    store, folder = Store(folder), Path(folder)
    sections, found, notes, files = ["# Compression sweep"], [], [], {}
    summary: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    for table in tables:
        rows, picture = summarise(table, store), None
        plain = (*table.task.controls, "full", *table.task.references)  # these alone have no axis
        if draw is not None and any(row.seeds and row.method not in plain for row in rows):
            picture = files[f"picture {table.label}"] = _picture(table, rows, folder, draw)
        found.append(rows)
        notes.append([each for each in [about_former(table, store)] if each])
        sections.append(markdown_section(table, rows, picture, notes[-1]))
        common = {"data": table.source.name, "task": table.task.name, **table.varied}
        summary += [common | row.flat(table.task.metric) for row in rows]
        pairs += [common | pair for row in rows for pair in row.pairs()]
        records = [each for row in rows for each in row.records]
        trials += [common | line for each in records for line in _flat(each, table)]
    files["report"] = write_text(folder / "report.md", "\n\n".join(sections) + "\n")
    files["summary"] = write_csv(folder / "summary.csv", summary)
    files["pairs"] = write_csv(folder / "pairs.csv", pairs)
    files["trials"] = write_csv(folder / "trials.csv", trials)
    return Report(files, found, notes)


def _flat(record: Record, table: Table) -> list[dict[str, Any]]:
    """A trial as the fields of ``trials.csv``, then what was derived from it, at no cost."""
    trial, outcome = record.trial, record.outcome
    row: dict[str, Any] = {
        "method": trial.method,
        "ratio": trial.ratio,
        "budget": trial.nbytes,
        "learning_rate": trial.learning_rate,
        **{name: tuned_value(trial, name) for name in table.tuned},
        "seed": trial.seed,
        "status": "failed" if outcome is None else "finished",
        "failed": record.failed,
        "seconds": record.seconds,
        "key": trial.key,
        **record.about,
    }
    if outcome is None:
        return [row]
    lines = [row | _measured(outcome, table)]
    for name, each in outcome.derived.items():
        method, ratio = split_name(name)
        own = {"method": method, "ratio": ratio, "seconds": 0.0}
        lines.append(row | own | _measured(each, table))
    return lines


def _measured(outcome: Outcome, table: Table) -> dict[str, Any]:
    nbytes, full = outcome.size
    return {
        "nbytes": nbytes,
        "compression_ratio": full / nbytes if full else None,
        "total_nbytes": nbytes + outcome.output_nbytes,
        f"valid_{table.task.metric}": outcome.valid,
        "best_epoch": outcome.best_epoch,
        **outcome.metrics,
    }


def _picture(table: Table, rows: Sequence[Row], folder: Path, draw: Draw) -> Path:
    """Draw the finished rows; the picture's name has the label of the table."""

    def known(row: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in row.items() if v is not None and v == v}

    metric = table.task.metric
    points = [known(row.flat(metric)) for row in rows if row.seeds]
    figure = draw(points, quality=metric, label=table.metric_label)
    name = re.sub(r"[^A-Za-z0-9.=-]+", "_", f"{table.label} {table.task.name}")
    return write_atomically(folder / f"{name}.png", lambda path: figure.savefig(path, dpi=120))
