"""What a sweep wants: its tables with planned bytes, and the trials known to be needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from memcom.budget import BudgetError
from memcom.data import Interactions, load
from memcom.sweep.records import DataKey, Job, Record
from memcom.sweep.spec import Cell, Source, Spec
from memcom.sweep.store import Store
from memcom.tasks.protocol import Setting, Size, Task, get_task


@dataclass(frozen=True)
class Line:
    """A row of a table with its plan.

    Attributes:
        cell: Its trials.
        size: Planned bytes of the input embedding; None if there is no such plan.
        impossible: Why the method cannot be that small; empty if it can.
    """

    cell: Cell
    size: Size | None
    impossible: str = ""


@dataclass(frozen=True)
class Table:
    """All rows that are compared with one another: one data set, one set of options.

    Attributes:
        data: Which data.
        loaded: The data itself.
        task: The task.
        options: The complete options of the task.
        varied: Those of them that differ between the tables of the sweep.
        lines: Controls and full table first.
    """

    data: DataKey
    loaded: Any
    task: Task
    options: dict[str, Any]
    varied: dict[str, Any]
    lines: list[Line]

    @property
    def label(self) -> str:
        """The data set's name and the options that vary."""
        return " ".join([self.data.name, *(f"{k}={v}" for k, v in self.varied.items())])

    def job(self, setting: Setting) -> Job:
        """A setting of this table, with its data."""
        return Job(self.data, setting)

    def wanted(self, store: Store) -> Iterator[Job]:
        """Every trial that is known to be needed, given what the store holds."""
        for line in self.lines:
            if line.impossible:
                continue
            yield from map(self.job, line.cell.grid)
            chosen = self.chosen(line, store)
            if chosen is not None:
                yield from map(self.job, line.cell.more_seeds(chosen.job.setting))

    def chosen(self, line: Line, store: Store) -> Record | None:
        """The first seed's record that is best on validation; None as long as one is missing."""
        records = [store.get(self.job(setting)) for setting in line.cell.grid]
        finished = [each for each in records if each is not None and each.outcome is not None]
        if None in records or not finished:
            return None
        sign = 1 if self.task.higher_is_better else -1
        return max(finished, key=lambda each: sign * each.outcome.valid)  # type: ignore[union-attr]


def tables(spec: Spec, loaded: Any = None) -> Iterator[Table]:
    """The tables of a spec, planned; each data set is loaded when its turn comes.

    Args:
        spec: The sweep.
        loaded: Data to use instead of loading it, for a spec with one source.

    Yields:
        Tables in the order of data sets and combinations of options.

    Raises:
        ValueError: The data is not of the kind that the task takes, or a method has no such
            option.
    """
    task = get_task(spec.task)
    for source in spec.data:
        data = read(source) if loaded is None else loaded
        if not isinstance(data, task.accepts):
            raise ValueError(
                f"{task.name} needs {task.accepts.__name__}, {source.label} is "
                f"{type(data).__name__}"
            )
        key = DataKey.of(source, data)
        for options in spec.variants():
            varied = {name: options[name] for name in spec.vary}
            lines = [_line(cell, task, data) for cell in spec.cells(options)]
            yield Table(key, data, task, options, varied, lines)


def read(source: Source) -> Any:
    """The data of a source.

    Args:
        source: Its option ``ids = "shuffled"`` is ours: item ids no longer say which item is the
            more popular. Everything else goes to `memcom.data.load`.

    Returns:
        The data.

    Raises:
        ValueError: ``ids`` is something else, or the data has no item ids.
    """
    options = dict(source.options)
    ids = options.pop("ids", "sorted")
    data = load(source.name, **options)
    if ids == "sorted":
        return data
    if ids != "shuffled" or not isinstance(data, Interactions):
        raise ValueError(
            f"ids must be 'sorted', or 'shuffled' for data with users and items; got {ids!r} for "
            f"{source.name}"
        )
    old = np.random.default_rng(0).permutation(data.num_items)  # new id -> old id
    return replace(
        data,
        item=np.argsort(old)[data.item],
        item_names=data.item_names[old],
        item_counts=data.item_counts[old],
        item_keys=None if data.item_keys is None else data.item_keys[old],
    )


def _line(cell: Cell, task: Task, data: Any) -> Line:
    try:
        return Line(cell, task.size(cell.setting, data))
    except BudgetError as error:
        return Line(cell, None, str(error))
    except TypeError as error:  # an option that the method does not have
        raise ValueError(f"{cell.setting.method}: {error}") from error
