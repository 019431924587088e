"""Times of a table's methods against its full table, taken when all training is done.

One method after another with one thread, so that nothing of ours runs beside it. What else the
machine does is shared by both sides of each ratio.
"""

from __future__ import annotations

import warnings

import torch
from tqdm.auto import tqdm

from memcom.sweep.planning import Table
from memcom.sweep.store import Store


def take_times(table: Table, store: Store, *, progress: bool = True) -> None:
    """Time each row of a table that has finished and has no times yet, and keep them in the store.

    A row that cannot be timed is warned of and left without: hours of training must not be lost
    to a stop-watch.

    Args:
        table: With its data.
        store: Holds the trials; takes the times.
        progress: Show a progress bar.
    """
    assert table.task.time is not None
    found = [table.chosen(line, store) for line in table.lines if line.size and line.size.nbytes]
    jobs = [record.job for record in found if record and not store.times(record.job)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for job in tqdm(jobs, desc="times", unit="method", disable=not progress, leave=False):
            try:
                store.put_times(job, table.task.time(job.setting, table.loaded))
            except Exception as error:
                said = f"{job.setting.method}: times not measured, {error!r}"
                warnings.warn(said, stacklevel=2)
    finally:
        torch.set_num_threads(before)
