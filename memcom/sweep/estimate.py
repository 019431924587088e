"""What a sweep would do: bytes, number of trials and time, before anything is run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from memcom.sweep.engines import attempt
from memcom.sweep.planning import Table
from memcom.sweep.provenance import devices
from memcom.sweep.render import duration
from memcom.sweep.store import Store
from memcom.tasks.protocol import Setting


def dry_run(
    tables: Sequence[Table], folder: Path | str, *, jobs: int = 1, probe: bool = True
) -> str:
    """The plan as text: bytes, ratio, trials and time of every row.

    Args:
        tables: Planned, with their data.
        folder: Folder of the trials; what is there is not counted again.
        jobs: Trials at a time.
        probe: Where no finished trial tells the time, train the full table for a few epochs.

    Returns:
        Lines of text. Times are those of finished trials of the same data, or of the probe; early
        stopping may make them less.
    """
    store, lines = Store(folder), []
    everything, missing, unknown = 0, 0.0, 0
    for table in tables:
        known = finished_seconds(table, store)
        fallback = median(known.values()) if known else probe_seconds(table) if probe else None
        lines += [f"{table.label}, {table.task.name}"]
        lines += [f"  {'method':<28}{'asked':>12}{'bytes':>14}{'ratio':>9}{'trials':>8}  time"]
        for line in table.lines:
            setting, trials = line.cell.setting, line.cell.num_trials
            start = f"  {setting.method:<28}{_asked(setting):>12}"
            if line.size is None:
                lines.append(f"{start}  cannot be that small: {line.impossible}")
                continue
            nbytes, full = line.size
            one = known.get(setting.method, fallback)
            if setting.method in table.task.untrained:
                one = known.get(setting.method, 0.0)
            wanted = list(replace(table, lines=[line]).wanted(store))
            left = trials - sum(store.get(job) is not None for job in wanted)
            everything += trials
            missing += (one or 0.0) * left
            unknown += left if one is None else 0
            ratio = f"{full / nbytes:.2f}" if nbytes else "-"
            when = "?" if one is None else duration(one * left)
            done = "" if left == trials else f", {trials - left} done"
            lines.append(f"{start}{nbytes:>14,}{ratio:>9}{trials:>8}  {when}{done}")
        lines.append("")
    more = f", and {unknown} trials of unknown time" if unknown else ""
    lines.append(
        f"{everything} trials; about {duration(missing / jobs)} with {jobs} at a time{more}"
    )
    return "\n".join(lines)


def finished_seconds(table: Table, store: Store) -> dict[str, float]:
    """Median seconds of the folder's finished trials of this data and these options, by method."""
    seconds = defaultdict(list)
    like = table.lines[0].cell.setting
    for record in store.records():
        one = record.job.setting
        same = (record.job.data, one.task, one.options) == (table.data, like.task, like.options)
        if same and record.outcome is not None:
            seconds[one.method].append(record.seconds)
    return {method: median(values) for method, values in seconds.items()}


def probe_seconds(table: Table) -> float | None:
    """Seconds of a trial of the full table if it runs all its epochs, from one and from six.

    On a CPU these are seconds of computing, so that what else the machine does now is left out.

    Args:
        table: With its data.

    Returns:
        The estimate; None if the task has no option ``epochs`` or the probe fails.
    """
    full = next(line.cell.setting for line in table.lines if line.cell.setting.method == "full")
    if "epochs" not in table.options:
        return None
    device = devices()[0]
    clock = time.process_time if device == "cpu" else time.perf_counter
    attempt(table.job(_with_epochs(full, 1)), table.loaded, device)  # warms up
    times = []
    for epochs in (1, 6):
        start = clock()
        record = attempt(table.job(_with_epochs(full, epochs)), table.loaded, device)
        times.append(clock() - start)
        if record.outcome is None:
            return None
    per_epoch = max(0.0, (times[1] - times[0]) / 5)
    return times[0] + (int(table.options["epochs"]) - 1) * per_epoch


def _with_epochs(setting: Setting, epochs: int) -> Setting:
    return replace(setting, options={**setting.options, "epochs": epochs})


def _asked(setting: Setting) -> str:
    if setting.nbytes is not None:
        return f"{setting.nbytes:,} B"
    return "" if setting.ratio is None else f"{setting.ratio:g}x"
