"""Estimate what a sweep would do before it runs: bytes, number of trials and time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from textwrap import indent

from memcom import _text
from memcom.sweep.plan import Table
from memcom.sweep.provenance import devices
from memcom.sweep.store import Store
from memcom.sweep.trial import Trial, run_trial


def dry_run(
    tables: Sequence[Table], folder: Path | str, *, jobs: int = 1, probe: bool = True
) -> str:
    """Return the plan as text: bytes, ratio, trials and time of every row.

    Args:
        tables: Planned, with their data.
        folder: Folder of the trials; those that are there are not counted again.
        jobs: Trials at a time.
        probe: Train the full table for a few epochs where no finished trial tells the time.

    Returns:
        A table for each of the tables, and the totals. Times come from finished trials of the same
        data, or from the probe; early stopping may shorten them.
    """
    store, parts = Store(folder), []
    total, seconds, unknown = 0, 0.0, 0
    for table in tables:
        known = finished_seconds(table, store)
        fallback = median(known.values()) if known else probe_seconds(table) if probe else None
        rows = []
        for cell, found in zip(table.cells, table.progress(store), strict=True):
            method = cell.first.method
            row = {"method": method, "asked": _asked(cell.first)}
            rows.append(row)
            if cell.size is None:
                row["time"] = f"cannot be that small: {cell.impossible}"
                continue
            each = known.get(method, 0.0 if method in table.task.untrained else fallback)
            done = len(found.records)
            left = cell.num_trials - done
            total += cell.num_trials
            seconds += (each or 0.0) * left
            unknown += left if each is None else 0
            nbytes, full = cell.size
            row["bytes"] = f"{nbytes:,}"
            row["ratio"] = f"{full / nbytes:.2f}" if nbytes else "-"
            row["trials"] = str(cell.num_trials)
            row["time"] = "?" if each is None else _text.duration(each * left)
            row["time"] += f", {done} done" if done else ""
        text = _text.table(rows, style="plain", right=("asked", "bytes", "ratio", "trials"))
        parts += [f"{table.label}, {table.task.name}", indent(text, "  "), ""]
    more = f", and {unknown} trials of unknown time" if unknown else ""
    about = _text.duration(seconds / jobs)
    return "\n".join([*parts, f"{total} trials; about {about} with {jobs} at a time{more}"])


def finished_seconds(table: Table, store: Store) -> dict[str, float]:
    """Return by method the median seconds of finished trials of the same data and options."""
    seconds = defaultdict(list)
    wanted = table.cells[0].first
    for record in store.records():
        trial = record.trial
        if record.outcome is None or (trial.source, trial.task) != (wanted.source, wanted.task):
            continue
        if trial.options == wanted.options:
            seconds[trial.method].append(record.seconds)
    return {method: median(values) for method, values in seconds.items()}


def probe_seconds(table: Table) -> float | None:
    """Estimate the seconds of a full-table trial with all epochs, from one and six epochs.

    On a CPU these are seconds of CPU time, so that other load does not count. None if the task has
    no option ``epochs`` or the probe fails.
    """
    full = next(cell.first for cell in table.cells if cell.first.method == "full")
    if "epochs" not in table.options:
        return None
    device = devices()[0]
    clock = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for epochs in (1, 1, 6):  # the first warms up
        trial = replace(full, options={**full.options, "epochs": epochs})
        start = clock()
        record = run_trial(trial, table.data, device)
        times.append(clock() - start)
        if record.outcome is None:
            return None
    per_epoch = max(0.0, (times[2] - times[1]) / 5)
    return times[1] + (int(table.options["epochs"]) - 1) * per_epoch


def _asked(trial: Trial) -> str:
    if trial.nbytes is not None:
        return f"{trial.nbytes:,} B"
    return "" if trial.ratio is None else f"{trial.ratio:g}x"
