"""A committed run as pages show it: read from its CSV file, as Markdown, as panels of a picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from statistics import geometric_mean
from typing import Any

from benchmarks.candidates import BASELINE
from benchmarks.fbgemm import FBGEMM
from benchmarks.machine import VERSIONS, busy
from benchmarks.reporting import bytes_of, threads_of
from benchmarks.targets import EVERY, FORWARD, STEP, Verdict, check
from memcom._text import table

SHOWN = {  # columns of `sizes_markdown`: phase, method, baseline
    "memcom": (FORWARD, "memcom", BASELINE),
    "qr": (FORWARD, "qr", BASELINE),
    "bch, 2 blocks": (FORWARD, "bch, 2 blocks", BASELINE),
    "memcom, plain PyTorch": (FORWARD, "memcom, plain", BASELINE),
    "qr, plain PyTorch": (FORWARD, "qr, plain", BASELINE),
    FBGEMM: (FORWARD, f"{FBGEMM}, bags of 1", BASELINE),
    "memcom SGD step": (STEP, "memcom, SGD", f"{BASELINE}, sparse SGD"),
    "memcom lazy Adam step": (STEP, "memcom, lazy Adam", f"{BASELINE}, SparseAdam"),
}
_WORDS = ("phase", "method", "baseline", "ids", "processor", "time", *VERSIONS)


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the CSV file of a run.

    Args:
        path: The file.

    Returns:
        The rows as `benchmarks.run` gave them: numbers as numbers, no empty fields.
    """
    import pandas as pd

    words = dict.fromkeys(_WORDS, "string")
    frame = pd.read_csv(path, dtype=words, keep_default_na=False, na_values=[""])
    records = frame.convert_dtypes().to_dict("records")
    return [{str(key): cell for key, cell in row.items() if pd.notna(cell)} for row in records]


def speed_panels(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Select the rows of a run for a picture of times over nn.Embedding's.

    Args:
        rows: A run of `benchmarks.run`.

    Returns:
        Lookups and training steps of 10^6 ids of width 64, by more than one id at a time; those on
        the plain path are left out.
    """
    size = {"num_embeddings": 10**6, "embedding_dim": 64, "threads": threads_of(rows)}
    shown = [
        row
        for row in rows
        if size.items() <= row.items()
        and row["batch"] > 1
        and not row["method"].endswith(", plain")
    ]
    return {
        title: [row for row in shown if row["phase"] == phase]
        for title, phase in (("Lookup", FORWARD), ("Training step", STEP))
    }


def speed_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Write the facts of a run, its targets as a table, and the bytes it found.

    Args:
        rows: A run, as `read_rows` reads it.

    Returns:
        Markdown.
    """
    first, threads = rows[0], threads_of(rows)
    load = "**others were at work, so the times are doubtful**" if busy(first) else "quiet"
    versions = ", ".join(f"{name} {first[name]}" for name in ("torch", "numba", "fbgemm-gpu-cpu"))
    targets = [
        {
            "work": target.phase,
            "method": target.method,
            "over": target.baseline,
            "ids at a time": f"{target.batch:,}",
            "ids": f"{target.num_embeddings:,}",
            "ratio": "not measured" if verdict.measured is None else f"{verdict.measured:.3f}",
            "target": f"≤ {target.limit:.3g}",
            "": _words([verdict]),
        }
        for verdict in check(rows, threads)
        if (target := verdict.target).phase != EVERY
    ]
    lines = [
        f"- **machine**: {first['processor']}, {first['cores']} cores, threads used: {threads}; "
        f"{versions}; {first['time']}",
        f"- **load**: {first['load']} before, {first['others']} cores used by others meanwhile: "
        f"{load}",
        "",
        table(targets, right=("ids at a time", "ids", "ratio", "target")),
        "",
        *(f"- {sentence}" for sentence in bytes_of(rows)),
    ]
    return "\n".join(lines)


def every_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Write the lookups of every method as it is shipped, with the targets of those that have some.

    Args:
        rows: A run, as `read_rows` reads it.

    Returns:
        Markdown, a line for each method; empty if the run has no such part. A method that was not
        measured has no line.
    """
    threads = threads_of(rows)
    here = [row for row in rows if row["phase"] == EVERY and row["threads"] == threads]
    targets: dict[tuple[str, str, int], dict[int, Verdict]] = {}
    for verdict in check(rows, threads):
        target = verdict.target
        if target.phase == EVERY:
            key = target.method, target.baseline, target.num_embeddings
            targets.setdefault(key, {})[target.batch] = verdict
    lines: dict[tuple[str, str, int], dict[str, str]] = {}
    batches = [f"{batch:,} at a time" for batch in sorted({row["batch"] for row in here})]
    for row in here:
        key = row["method"], row["baseline"], row["num_embeddings"]
        if key not in lines:
            lines[key] = {"method": key[0], "over": key[1], "ids": f"{key[2]:,}"}
            lines[key] |= dict.fromkeys(batches, "–")
        cell, promised = f"{row['ratio']:.2f}", targets.get(key, {}).get(row["batch"])
        if promised is not None:
            cell += f" (≤ {promised.target.limit:g})"
        lines[key][f"{row['batch']:,} at a time"] = cell
    for key, line in lines.items():
        line[""] = _words(list(targets.get(key, {}).values()))
    return table(list(lines.values()), right=["ids", *batches])


def _words(verdicts: Sequence[Verdict]) -> str:
    """Whether targets that belong together are met; empty where none was measured."""
    found = [verdict.holds for verdict in verdicts if verdict.holds is not None]
    if not found:
        return ""
    return "met" if all(found) else "**missed**"


def sizes_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Write the ratios at every size: lookups over nn.Embedding's, steps over its sparse ones.

    Args:
        rows: A run, as `read_rows` reads it.

    Returns:
        Markdown, a line for each number of threads and size, and one for all sizes together; a
        cell holds the geometric means over the kinds of ids, one for each batch.
    """
    batches = sorted({row["batch"] for row in rows if row["phase"] == STEP})
    lookups = [row for row in rows if row["phase"] == FORWARD]
    lines = []
    for threads in sorted({row["threads"] for row in lookups}):
        here = [row for row in rows if row.get("threads") == threads]
        sizes = sorted({_size(row) for row in lookups if row["threads"] == threads})
        for size in [*sizes, None]:
            n, e = size or ("all", "")
            chosen = [row for row in here if (_size(row) == size if size else _size(row) in sizes)]
            cells = {"threads": f"{threads}", "ids": f"{n:,}" if size else "all", "width": f"{e}"}
            for column, kind in SHOWN.items():
                cells[column] = " / ".join(_mean(chosen, kind, batch) for batch in batches)
            lines.append(cells)
    return table(lines, right=list(lines[0]) if lines else [])


def _size(row: dict[str, Any]) -> tuple[int, int]:
    return row.get("num_embeddings", 0), row.get("embedding_dim", 0)


def _mean(rows: Iterable[dict[str, Any]], kind: tuple[str, str, str], batch: int) -> str:
    """Geometric mean of the ratios of one phase, method and baseline."""
    found = [
        row["ratio"]
        for row in rows
        if (row["phase"], row["method"], row["baseline"], row["batch"]) == (*kind, batch)
    ]
    return f"{geometric_mean(found):.2f}" if found else "–"
