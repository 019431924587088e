"""The contents page of the course, and the tables that a terminal shows after a run."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memcom.course.build.header import Header
from memcom.course.build.pages import document

_COLUMNS = ("Notebook", "Method", "Bytes", "Ratio", "Asked", "nDCG@10", "Loss")


@dataclass(frozen=True)
class Entry:
    """One notebook of the course, run or failed.

    Attributes:
        name: Its file's name without ``.ipynb``.
        header: What it says about itself.
        seconds: Time of the run; None if it failed.
        peak_rss_bytes: Peak memory of the run; None if it failed.
        results: Its rows of the results table.
        error: What went wrong; empty if nothing did.
    """

    name: str
    header: Header
    seconds: float | None
    peak_rss_bytes: int | None
    results: Sequence[Mapping[str, Any]]
    error: str = ""

    @property
    def title(self) -> str:
        """The notebook's title, or its name where it has none."""
        return self.header.title or self.name


def index_page(entries: Sequence[Entry], machine: str) -> str:
    """Make the contents page.

    Args:
        entries: The notebooks, in order.
        machine: One line of plain text about what they ran on.

    Returns:
        The whole HTML document.
    """
    failed = [entry for entry in entries if entry.error]
    status = (
        f"{len(failed)} of {len(entries)} notebooks failed in this run: "
        f"{', '.join(entry.title for entry in failed)}. Their pages say why."
        if failed
        else "Every notebook ran to its end, the solutions of its exercises included."
    )
    rows = "".join(
        f'<tr><td><a href="{entry.name}.html">{html.escape(entry.title)}</a></td>'
        f"<td>{_teaches(entry)}</td>"
        f'<td class="number" data-label="Time">{_time(entry)}</td>'
        f'<td class="number" data-label="Peak memory">{_memory(entry)}</td></tr>'
        for entry in entries
    )
    head = (
        "<thead><tr><th>Notebook</th><th>What it teaches</th>"
        '<th class="number">Time</th><th class="number">Peak memory</th></tr></thead>'
    )
    body = (
        "<main id='main'><h1>Compressed embedding tables</h1>"
        f'<p class="status{" failed" if failed else ""}">{html.escape(status)}</p>'
        f'<table class="course">{head}<tbody>{rows}</tbody></table>{_results(entries)}'
        f'<p class="facts">{html.escape(machine)}</p></main>'
    )
    return document("Compressed embedding tables", body)


def result_rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Spell the results that the notebooks recorded.

    Args:
        entries: The notebooks, in order.

    Returns:
        One row for each result: notebook, method, bytes, ratio, ratio asked for, nDCG@10, loss.
    """
    return [
        (
            entry.name,
            str(row["method"]),
            f"{row['nbytes']:,}",
            f"{row['ratio']:.1f}",
            _number(row.get("ratio_asked"), "g"),
            _number(row["ndcg_at_10"], ".4f"),
            _number(row["loss_percent"], ".1f", " %"),
        )
        for entry in entries
        for row in entry.results
    ]


def report(entries: Sequence[Entry]) -> str:
    """Make the tables for a terminal: every result, then every notebook.

    Args:
        entries: The notebooks, in order.

    Returns:
        Text of several lines.
    """
    times = [
        (entry.name, _time(entry), _memory(entry), "FAILED" if entry.error else "ok")
        for entry in entries
    ]
    results = result_rows(entries)
    parts = [_plain(_COLUMNS, results, left=2)] if results else []
    parts.append(_plain(("Notebook", "Time", "Peak memory", ""), times, left=1))
    return "\n\n".join(parts)


def _plain(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Align columns: the first `left` ones to the left, the others to the right."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    return "\n".join([lines[0], "-" * sum([*widths, 2 * len(widths) - 2]), *lines[1:]])


def _results(entries: Sequence[Entry]) -> str:
    """Make the results table of the contents page."""
    rows = result_rows(entries)
    if not rows:
        return ""
    head = "".join(
        f'<th class="number">{name}</th>' if column > 1 else f"<th>{name}</th>"
        for column, name in enumerate(_COLUMNS)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="number">{html.escape(cell)}</td>'
            if column > 1
            else f"<td>{html.escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        "<h2>What the notebooks measured</h2><p>Bytes are what each table really stores; the loss "
        "is relative to the full table of the same notebook.</p>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _teaches(entry: Entry) -> str:
    if entry.error:
        return "<strong>Failed.</strong> The page has the error."
    return html.escape(entry.header.purpose)


def _time(entry: Entry) -> str:
    return "–" if entry.seconds is None else f"{entry.seconds:.0f} s"


def _memory(entry: Entry) -> str:
    return "–" if entry.peak_rss_bytes is None else f"{entry.peak_rss_bytes / 2**20:,.0f} MiB"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
