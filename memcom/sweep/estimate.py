"""Estimate what a sweep would do before it runs: bytes, number of trials and time.

Nothing is built but the full table, which is trained for a few epochs where no finished trial tells
the time. Until one of its own has finished, a method takes that time by its share: the time of its
training step over the full table's in the committed sweep of every method.
"""

from __future__ import annotations

import csv
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median
from textwrap import indent

from memcom import _text
from memcom._files import shipped
from memcom.sweep.plan import Cell, Progress, Table
from memcom.sweep.provenance import devices
from memcom.sweep.spec import Spec
from memcom.sweep.store import Store
from memcom.sweep.trial import Trial, run_trial
from memcom.tasks.protocol import get_task

STEP_TIMES = "experiments/results/every-method/summary.csv"


def dry_run(
    tables: Iterable[Table], folder: Path | str, *, jobs: int = 1, probe: bool = True
) -> str:
    """Return the plan as text: bytes, ratio, trials and time of every row.

    Args:
        tables: Planned, with their data; taken one by one, so that one data set is in memory at a
            time if they come from `memcom.sweep.tables`.
        folder: Folder of the trials; those that are there are not counted again.
        jobs: Trials at a time.
        probe: Train the full table for a few epochs where no finished trial tells the time.

    Returns:
        A table for each of the tables, and the totals. Times are those of all epochs; early
        stopping may shorten them.
    """
    store, parts = Store(folder), []
    total, tuning, seconds, unknown = 0, 0, 0.0, 0
    for table in tables:
        times = _Times(table, store, probe)
        rows = []
        for cell, found in zip(table.cells, table.progress(store), strict=True):
            row = {"method": cell.first.method, "asked": _asked(cell.first)}
            rows.append(row)
            if cell.size is None:
                row["time"] = cell.why_not
                continue
            total += cell.num_trials
            tried = 0 if cell.first.learning_rate is None else len(cell.grid)
            tuning += tried
            nbytes, full = cell.size
            row["bytes"] = f"{nbytes:,}"
            row["ratio"] = f"{full / nbytes:.2f}" if full else "-"
            row["tuning"], row["final"] = str(tried), str(cell.num_trials - tried)
            left = times.left(cell, found)
            seconds += left or 0.0
            unknown += cell.num_trials - len(found.records) if left is None else 0
            row["time"] = "?" if left is None else _text.duration(left)
            row["time"] += f", {len(found.records)} done" if found.records else ""
        numbers = ("asked", "bytes", "ratio", "tuning", "final")
        text = _text.table(rows, style="plain", right=numbers)
        parts += [f"{table.label}, {table.task.name}", indent(text, "  "), ""]
    more = f", and {unknown} trials of unknown time" if unknown else ""
    about = _text.duration(seconds / jobs)
    trials = f"{total} trials, {tuning} of them for tuning"
    return "\n".join([*parts, f"{trials}; about {about} with {jobs} at a time{more}"])


def outline(spec: Spec, folder: Path | str) -> str:
    """Say what a sweep trains and where it writes, before any data is read.

    Args:
        spec: The sweep.
        folder: Folder of the trials.

    Returns:
        Data, methods, budgets and the largest number of trials on one line, the folder on another.
    """
    grids = [grid for options in spec.variants() for grid in spec.grids(options)]
    untrained = get_task(spec.task).untrained
    trials = 0
    for grid in grids:
        seeds = 1 if grid[0].method in untrained else spec.seeds
        cell = Cell(grid, seeds, epochs=spec.tune.epochs, finalists=spec.tune.finalists)
        trials += cell.num_trials
    methods = dict.fromkeys((*spec.controls, "full", *spec.baselines, *spec.methods))
    named = ", ".join(methods) if len(methods) <= 12 else f"{len(methods)} methods"
    budgets = [*(f"{ratio:g}x" for ratio in spec.ratios), *map(_text.in_bytes, spec.nbytes)]
    data = ", ".join(source.label for source in spec.data)
    return (
        f"{data}, {spec.task}: {named} at {', '.join(budgets)}, {spec.seeds} seeds; at most "
        f"{trials * len(spec.data)} trials (--dry-run tells bytes and time)\n"
        f"trials and report: {folder}"
    )


class _Times:
    """Seconds of the trials of a table, by method and number of epochs."""

    def __init__(self, table: Table, store: Store, probe: bool) -> None:
        self.table, self.known = table, finished_seconds(table, store)
        self.probed: Callable[[int], float] | None = None
        if probe and not any(method == "full" for method, _ in self.known):
            self.probed = probe_seconds(table)

    def left(self, cell: Cell, found: Progress) -> float | None:
        """Return the seconds of the trials that a row still needs; None if they are unknown."""
        unknown = cell.num_trials - len(found.trials)
        each = [self.of(trial) for trial in found.pending + cell.finals(cell.first)[:1] * unknown]
        return None if None in each else sum(filter(None, each))

    def of(self, trial: Trial) -> float | None:
        """Return the seconds of a trial; None if they are unknown."""
        method, epochs = trial.method, trial.options.get("epochs")
        if method in self.table.task.untrained:
            return 0.0
        if (method, epochs) in self.known:
            return self.known[method, epochs]
        share = step_shares().get(method.partition("(")[0], 1.0)
        if ("full", epochs) in self.known:
            return share * self.known["full", epochs]
        if self.probed is None:
            return None
        return share * self.probed(epochs or 1)


def finished_seconds(table: Table, store: Store) -> dict[tuple[str, int | None], float]:
    """Return the median seconds of finished trials of the same data and options.

    They are told apart by method and epochs; what is tuned may be anything.
    """
    seconds = defaultdict(list)
    wanted = table.cells[0].first

    def fixed(trial: Trial) -> dict[str, object]:
        tuned = {name.partition(".")[0] for name in (*table.tune.space, "epochs")}
        return {name: value for name, value in trial.options.items() if name not in tuned}

    for record in store.records():
        trial = record.trial
        if record.outcome is None or (trial.source, trial.task) != (wanted.source, wanted.task):
            continue
        if fixed(trial) == fixed(wanted):
            seconds[trial.method, trial.options.get("epochs")].append(record.seconds)
    return {which: median(values) for which, values in seconds.items()}


@cache
def step_shares() -> dict[str, float]:
    """Return by method the time of a training step over the full table's, from `STEP_TIMES`."""
    try:
        with open(shipped(STEP_TIMES), encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["step_time"]]
    except FileNotFoundError:
        return {}
    times = defaultdict(list)
    for row in rows:
        times[row["method"].partition("(")[0]].append(float(row["step_time"]))
    return {method: median(values) for method, values in times.items()}


def probe_seconds(table: Table) -> Callable[[int], float] | None:
    """Measure how long a trial of the full table takes, by its number of epochs.

    On a CPU these are seconds of CPU time, so that other load does not count.

    Args:
        table: A table with its data.

    Returns:
        A function of the number of epochs, which counts validations apart where the task has an
        option ``evaluate_every``. None if it has no option ``epochs``, or the probe fails.
    """
    full = next(cell.first for cell in table.cells if cell.first.method == "full")
    every = table.options.get("evaluate_every")
    if "epochs" not in table.options:
        return None
    device = devices()[0]
    clock = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for epochs, each in ((1, 1), (1, 1), (3, 3), (3, 1)):  # the first warms up
        changed = {"epochs": epochs} | ({} if every is None else {"evaluate_every": each})
        start = clock()
        record = run_trial(replace(full, options={**full.options, **changed}), table.data, device)
        times.append(clock() - start)
        if record.outcome is None:
            return None
    _, one, three, validated = times
    per_epoch, per_validation = max(0.0, (three - one) / 2), max(0.0, (validated - three) / 2)

    def seconds(epochs: int) -> float:
        validations = 1 if every is None else math.ceil(epochs / every)
        return one + (epochs - 1) * per_epoch + (validations - 1) * per_validation

    return seconds


def _asked(trial: Trial) -> str:
    if trial.nbytes is not None:
        return f"{trial.nbytes:,} B"
    return "" if trial.ratio is None else f"{trial.ratio:g}x"
