"""A run in words: targets, slow methods, bytes and load. `command` is behind ``memcom bench``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.growth import growth_table
from benchmarks.machine import busy
from benchmarks.suite import run
from benchmarks.targets import COPY, EVERY, FORWARD, MEMORY, SCALE, SEARCH, STEP, TARGETS, check
from memcom._text import in_bytes, table
from memcom.embeddings import REGISTRY, get

Row = Mapping[str, Any]
SLOW = 3.0  # times nn.Embedding; beyond it a method's card must give a reason


def command(
    out: Path | None = None,
    *,
    full: bool = False,
    threads: Sequence[int] = (),
    only: Sequence[str] = (),
    log: Callable[[str], object] = print,
) -> int:
    """Run, write, and report: behind ``memcom bench``.

    Args:
        out: CSV file to write.
        full: Every size, rather than the targets'.
        threads: Numbers of threads; empty for the usual ones.
        only: Parts to run; empty for all.
        log: Called with every line.

    Returns:
        The exit code: 1 if a target is missed.
    """
    settings: dict[str, Any] = {}
    if threads:
        settings["threads"] = list(dict.fromkeys(threads))
    if only:
        settings["parts"] = list(only)
    rows = run(out, quick=not full, log=log, **settings)
    lines, missed = report(rows)
    for line in ["", *lines]:
        log(line)
    return int(missed > 0)


def report(rows: Sequence[Row]) -> tuple[list[str], int]:
    """Compare a run with the targets, and put the rest of it in a few lines.

    Args:
        rows: As `benchmarks.run` gives them.

    Returns:
        The lines, and the number of missed targets. A compressor that is slower than `SLOW` times
        nn.Embedding, and whose card gives no reason, counts as one.
    """
    verdicts = [*_targets(rows), *_slow(rows)]
    lines = table(verdicts, style="plain", right=("ratio", "limit")).splitlines()
    missed = sum(verdict[""] == "MISSED" for verdict in verdicts)
    lines += [*_bandwidth(rows), *_search(rows), *bytes_of(rows), *_growth(rows), *_load(rows)]
    return lines, missed


def threads_of(rows: Iterable[Row]) -> int:
    """Return the most threads of a run: the targets are for these."""
    return max((row["threads"] for row in rows if row.get("threads")), default=1)


def _targets(rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    for target, measured in check(rows, threads_of(rows)):
        work = f"{target.phase}, {target.method} / {target.baseline}, batch {target.batch:,}"
        if target.num_embeddings != 10**6:
            work += f", {target.num_embeddings:,} ids"
        limit = f"<= {target.limit:.3f}"
        if measured is None:
            yield {"": "-", "ratio": "-", "limit": limit, "work": f"{work}: not measured"}
        else:
            mark = "ok" if measured <= target.limit else "MISSED"
            yield {"": mark, "ratio": f"{measured:.3f}", "limit": limit, "work": work}


def _slow(rows: Iterable[Row]) -> Iterator[dict[str, str]]:
    """The registry's slow methods that have no target, each with the reason on its card."""
    promised = {(target.method, target.baseline) for target in TARGETS if target.phase == EVERY}
    for row in rows:
        if row["phase"] != EVERY or (row["method"], row["baseline"]) in promised:
            continue
        if row["method"] not in REGISTRY:  # another package's table
            continue
        if row["num_embeddings"] >= 10**5 and row["ratio"] > SLOW:
            why = get(row["method"]).card.slow
            size = f"{row['num_embeddings']:,} ids, {row['threads']} threads"
            yield {
                "": "slow" if why else "MISSED",
                "ratio": f"{row['ratio']:.1f}",
                "limit": "" if why else f"<= {SLOW:g}",
                "work": f"{row['method']} ({size}): {why or 'its card gives no reason'}",
            }


def _bandwidth(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        if row["phase"] == COPY:
            rate = in_bytes(row["bytes"] / row["seconds"])
            yield f"Copying a large block moves {rate} a second ({row['threads']} threads)."


def _search(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        if row["phase"] == SEARCH and row["method"] != row["baseline"]:
            yield (
                f"{row['method']}, {row['batch']} queries over {row['num_embeddings']:,} items: "
                f"{row['seconds']:.3f} s, {row['ratio']:.2f} times that of {row['baseline']}."
            )


def bytes_of(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a sentence for each peak memory that was measured, and for the model at scale."""
    for row in rows:
        if row["phase"] == MEMORY:
            yield (
                f"Training {row['num_embeddings']:,} ids, {row['method']}, {row['batch']:,} at a "
                f"time: formula {in_bytes(row['formula'])}, torch's allocator "
                f"{in_bytes(row['allocated'])}, resident {in_bytes(row['resident'])}."
            )
        if row["phase"] == SCALE:
            ids, width = row["num_embeddings"], row["embedding_dim"]
            yield (
                f"A model with {ids:,} ids of width {width}, MEmCom at 16× with lazy Adam: the "
                f"whole process peaks at {in_bytes(row['resident'])} and trains "
                f"{row['ids_per_second']:,} ids a second; the loss falls from "
                f"{row['loss_first']:.3f} to {row['loss_last']:.3f} in {row['rounds']} steps. A "
                f"full table with Adam's moments takes {in_bytes(3 * 4 * ids * width)}."
            )


def _growth(rows: Sequence[Row]) -> Iterator[str]:
    """Nanoseconds an id over the number of ids and the batch."""
    lines = growth_table(rows, style="plain").splitlines()
    if lines:
        yield from ("", "Nanoseconds an id, batches side by side, ids uniform:", *lines, "")


def _load(rows: Sequence[Row]) -> Iterator[str]:
    """Width of the intervals of the ratios, and whether other programs were at work."""
    timed = [row for row in rows if row["phase"] in (FORWARD, STEP) and row["ratio"] != 1]
    if timed:
        wide = median(row["ratio_high"] / row["ratio_low"] for row in timed)
        yield f"Ratios: the median interval (95 %) spans a factor of {wide:.2f}."
    if rows:
        verdict = "ratios may be off" if busy(rows[0]) else "the machine was quiet"
        yield (
            f"Load {rows[0]['load']} before the run, {rows[0]['others']} cores used by others "
            f"meanwhile: {verdict}."
        )
