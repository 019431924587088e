"""A committed run as a README shows it: what it was measured on, the targets, memory and scale."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from benchmarks.machine import LOADED, VERSIONS
from benchmarks.targets import FORWARD, MEMORY, SCALE, STEP, check

_TABLE = "nn.Embedding"
SHOWN = {  # columns of `sizes_markdown`: phase, method, baseline
    "memcom": (FORWARD, "memcom", _TABLE),
    "qr": (FORWARD, "qr", _TABLE),
    "bch, 2 blocks": (FORWARD, "bch, 2 blocks", _TABLE),
    "memcom, plain PyTorch": (FORWARD, "memcom, plain", _TABLE),
    "qr, plain PyTorch": (FORWARD, "qr, plain", _TABLE),
    "FBGEMM's table": (FORWARD, "FBGEMM's table, bags of 1", _TABLE),
    "memcom SGD step": (STEP, "memcom, SGD", f"{_TABLE}, sparse SGD"),
    "memcom lazy Adam step": (STEP, "memcom, lazy Adam", f"{_TABLE}, SparseAdam"),
}
_WORDS = ("phase", "method", "baseline", "ids", "processor", "time", *VERSIONS)


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the CSV file of a run.

    Args:
        path: The file.

    Returns:
        The rows as `benchmarks.run` gave them: numbers as numbers, no empty fields.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [
            {key: _value(key, text) for key, text in row.items() if text != ""}
            for row in csv.DictReader(file)
        ]


def _value(key: str, text: str) -> Any:
    if key in _WORDS:
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def threads_of(rows: Sequence[dict[str, Any]]) -> int:
    """The most threads of a run: the targets are for these."""
    return max((row["threads"] for row in rows if "threads" in row), default=1)


def speed_panels(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of a run for `memcom.plots.bench.speed_against_table`.

    Args:
        rows: A run of `benchmarks.run`.

    Returns:
        Lookups and training steps of 10^6 ids of width 64, by more than one id at a time; those on
        the plain path are left out.
    """
    place = {"num_embeddings": 10**6, "embedding_dim": 64, "threads": threads_of(rows)}
    panels: dict[str, list[dict[str, Any]]] = {"Lookup": [], "Training step": []}
    for row in rows:
        if row["batch"] == 1 or row["method"].endswith(", plain"):
            continue
        if all(row.get(key) == value for key, value in place.items()):
            if row["phase"] == FORWARD:
                panels["Lookup"].append(row)
            elif row["phase"] == STEP:
                panels["Training step"].append(row)
    return panels


def speed_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The facts of a run, its targets as a table, and what it found of memory and scale.

    Args:
        rows: A run, as `read_rows` reads it.

    Returns:
        Markdown.
    """
    first, threads = rows[0], threads_of(rows)
    busy = first["load"] > LOADED or (first["others"] != "-" and first["others"] > LOADED)
    verdict = "**others were at work, so the times are of little worth**" if busy else "quiet"
    versions = ", ".join(f"{name} {first[name]}" for name in ("torch", "numba", "fbgemm-gpu-cpu"))
    lines = [
        f"- **machine**: {first['processor']}, {first['cores']} cores, threads used: {threads}; "
        f"{versions}; {first['time']}",
        f"- **load**: {first['load']} before, {first['others']} cores used by others meanwhile: "
        f"{verdict}",
        "",
        "| work | method | over | ids at a time | ratio | target |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for target, measured in check(rows, threads):
        ratio = "not measured" if measured is None else f"{measured:.3f}"
        lines.append(
            f"| {target.phase} | {target.method} | {target.baseline} | {target.batch:,} | {ratio} "
            f"| ≤ {target.limit:.3g} |"
        )
    return "\n".join([*lines, "", *_sentences(rows)])


def sizes_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Ratios at every size of a run: lookups over nn.Embedding's, steps over its sparse ones.

    Args:
        rows: A run, as `read_rows` reads it.

    Returns:
        Markdown, a line for each number of threads and size, and one for all sizes together; a
        cell holds the geometric means over the kinds of ids, one for each batch.
    """
    batches = sorted({row["batch"] for row in rows if row["phase"] == STEP})
    places = sorted(
        {
            (row["threads"], row["num_embeddings"], row["embedding_dim"])
            for row in rows
            if row["phase"] == FORWARD
        }
    )
    lines = [
        f"| threads | ids | width | {' | '.join(SHOWN)} |",
        f"| ---: | ---: | ---: |{' ---: |' * len(SHOWN)}",
    ]
    for threads in dict.fromkeys(threads for threads, *_ in places):
        sizes = [(n, e) for each, n, e in places if each == threads]
        for what, chosen in [*((f"{n:,} | {e}", {(n, e)}) for n, e in sizes), ("all |", {*sizes})]:
            here = [
                row
                for row in rows
                if row.get("threads") == threads
                and (row.get("num_embeddings"), row.get("embedding_dim")) in chosen
            ]
            cells = [
                " / ".join(_mean(here, way, batch) for batch in batches) for way in SHOWN.values()
            ]
            lines.append(f"| {threads} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(rows: Iterable[dict[str, Any]], way: tuple[str, str, str], batch: int) -> str:
    """Geometric mean of a way's ratios."""
    found = [
        row["ratio"]
        for row in rows
        if (row["phase"], row["method"], row["baseline"], row["batch"]) == (*way, batch)
    ]
    return f"{geometric_mean(found):.2f}" if found else "–"


def _sentences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Bytes of the largest tables that were trained."""
    lines = []
    for row in rows:
        if row["phase"] == MEMORY:
            lines.append(
                f"- Training {row['num_embeddings']:,} ids, {row['method']}, {row['batch']:,} at a "
                f"time: formula {row['formula'] / 1e9:.2f} GB, torch's allocator "
                f"{row['allocated'] / 1e9:.2f} GB, resident {row['resident'] / 1e9:.2f} GB."
            )
        if row["phase"] == SCALE:
            ids, width = row["num_embeddings"], row["embedding_dim"]
            full = 3 * 4 * ids * width / 1e9
            lines.append(
                f"- A model with **{ids:,} ids** of width {width}, "
                f"MEmCom at 16× with lazy Adam: the whole process peaks at "
                f"**{row['resident'] / 1e9:.2f} GB** and trains **{row['ids_per_second']:,} ids a "
                f"second**. A full table with Adam's moments takes {full:.1f} GB."
            )
    return lines
