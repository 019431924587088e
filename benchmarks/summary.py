"""A run in words: targets, and what the tables do not show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import LOADED
from benchmarks.registry import SLOW
from benchmarks.runner import run
from benchmarks.targets import COPY, EVERY, FORWARD, MEMORY, SCALE, SEARCH, STEP, check
from memcom.embeddings import get

Row = Mapping[str, Any]


def command(
    out: Path | None = None,
    *,
    full: bool = False,
    threads: Sequence[int] = (),
    only: Sequence[str] = (),
    tell: Callable[[str], object] = print,
) -> int:
    """Run, write, and say what was found: behind ``memcom bench``.

    Args:
        out: CSV file to write.
        full: Every size, rather than the targets'.
        threads: Numbers of threads; empty for the usual ones.
        only: Parts to run; empty for all.
        tell: Given every line.

    Returns:
        The exit code: 1 if a target is missed.
    """
    settings: dict[str, Any] = {}
    if threads:
        settings["threads"] = list(dict.fromkeys(threads))
    if only:
        settings["parts"] = list(only)
    rows = run(out, quick=not full, tell=tell, **settings)
    tell("")
    lines, missed = report(rows)
    for line in lines:
        tell(line)
    return int(missed > 0)


def report(rows: Sequence[Row]) -> tuple[list[str], int]:
    """Compare a run with the targets, and say the rest of it in a few lines.

    Args:
        rows: As `benchmarks.run` gives them.

    Returns:
        The lines, and how many targets are missed. A compressor that is slower than `SLOW` times
        nn.Embedding, and whose card gives no reason, counts as one.
    """
    lines, missed = [], 0
    threads = max((row["threads"] for row in rows if row.get("threads")), default=1)
    for target, measured in check(rows, threads):
        what = f"{target.phase}, {target.method} / {target.baseline}, batch {target.batch:,}"
        if measured is None:
            lines.append(f"   -          (<= {target.limit:5.3f})  {what}: not measured")
            continue
        mark = "ok    " if measured <= target.limit else "MISSED"
        missed += measured > target.limit
        lines.append(f"{mark} {measured:6.3f} (<= {target.limit:5.3f})  {what}")
    slow = list(_slow(rows))
    lines += [line for line, _ in slow]
    missed += sum(not known for _, known in slow)
    return [*lines, *_bandwidth(rows), *_search(rows), *_bytes(rows), *_load(rows)], missed


def _slow(rows: Iterable[Row]) -> Iterator[tuple[str, bool]]:
    """The registry's slow methods with the reason; whether there is one."""
    for row in rows:
        if row["phase"] == EVERY and row["num_embeddings"] >= 10**5 and row["ratio"] > SLOW:
            why = get(row["method"]).card.slow
            mark = "slow  " if why else "MISSED"
            said = why or f"its card gives no reason, and the limit is {SLOW:g}"
            size = f"{row['num_embeddings']:,} ids, {row['threads']} threads"
            yield f"{mark} {row['ratio']:6.1f}  {row['method']}: {said} ({size})", bool(why)


def _bandwidth(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        if row["phase"] == COPY:
            rate = row["bytes"] / row["seconds"] / 1e9
            yield f"copying a large block: {rate:.1f} GB/s moved ({row['threads']} threads)"


def _search(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        if row["phase"] == SEARCH and row["method"] != row["baseline"]:
            queries, items = row["batch"], row["num_embeddings"]
            yield (
                f"{row['method']}, {queries} queries over {items:,} items: {row['seconds']:.3f} s, "
                f"{row['ratio']:.2f} times that of {row['baseline']}"
            )


def _bytes(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        gigabytes = {k: row[k] / 1e9 for k in ("formula", "allocated", "resident") if row.get(k)}
        said = ", ".join(f"{k} {v:.2f} GB" for k, v in gigabytes.items())
        size = f"{row.get('num_embeddings', 0):,} ids, batch {row['batch']:,}"
        if row["phase"] == MEMORY:
            yield f"{row['method']}, {size}: {said}"
        if row["phase"] == SCALE:
            full = 3 * 4 * row["num_embeddings"] * row["embedding_dim"] / 1e9
            yield (
                f"{row['method']}, {size}: {said} (full table with Adam: {full:.1f} GB), "
                f"{row['ids_per_second']:,} ids/s, loss {row['loss_first']:.3f} to "
                f"{row['loss_last']:.3f} in {row['rounds']} steps"
            )


def _load(rows: Sequence[Row]) -> Iterator[str]:
    """Whether the machine was left alone, and how wide the intervals of the ratios are."""
    timed = [row for row in rows if row["phase"] in (FORWARD, STEP) and row["ratio"] != 1]
    if timed:
        wide = sorted(row["ratio_high"] / row["ratio_low"] for row in timed)
        yield f"ratios: median interval (95 %) spans a factor of {wide[len(wide) // 2]:.2f}"
    if rows:
        load, others = rows[0]["load"], rows[0]["others"]
        busy = load > LOADED or (others != "-" and others > LOADED)
        yield (
            f"load {load} before the run, {others} cores used by others meanwhile: "
            + ("ratios may be off" if busy else "the machine was quiet")
        )
