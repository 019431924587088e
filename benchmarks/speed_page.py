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
from benchmarks.targets import FORWARD, STEP, check
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
    verdict = "**others were at work, so the times are doubtful**" if busy(first) else "quiet"
    versions = ", ".join(f"{name} {first[name]}" for name in ("torch", "numba", "fbgemm-gpu-cpu"))
    targets = [
        {
            "work": target.phase,
            "method": target.method,
            "over": target.baseline,
            "ids at a time": f"{target.batch:,}",
            "ratio": "not measured" if measured is None else f"{measured:.3f}",
            "target": f"≤ {target.limit:.3g}",
        }
        for target, measured in check(rows, threads)
    ]
    lines = [
        f"- **machine**: {first['processor']}, {first['cores']} cores, threads used: {threads}; "
        f"{versions}; {first['time']}",
        f"- **load**: {first['load']} before, {first['others']} cores used by others meanwhile: "
        f"{verdict}",
        "",
        table(targets, right=("ids at a time", "ratio", "target")),
        "",
        *(f"- {sentence}" for sentence in bytes_of(rows)),
    ]
    return "\n".join(lines)


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
