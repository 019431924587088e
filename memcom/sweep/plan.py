"""Tables of cells with planned bytes, and the trials that each cell still needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from memcom._extras import MissingExtra
from memcom.budget import BudgetError
from memcom.sweep.source import Source
from memcom.sweep.spec import Spec
from memcom.sweep.store import Store
from memcom.sweep.trial import Record, Trial
from memcom.tasks.protocol import Outcome, Size, Task, get_task


@dataclass(frozen=True)
class Cell:
    """A method at a budget: one row of a table, before it is run.

    Attributes:
        grid: The trials with the first seed, one per learning rate.
        seeds: Number of seeds of the learning rate that validation chooses; 1 for a control that
            learns nothing.
        size: Planned bytes of the input embedding; None if the method cannot be that small.
        impossible: Why it cannot; empty if it can.
    """

    grid: tuple[Trial, ...]
    seeds: int
    size: Size | None = None
    impossible: str = ""

    @property
    def first(self) -> Trial:
        """The first of the grid, for method and budget."""
        return self.grid[0]

    @property
    def num_trials(self) -> int:
        """Trials of the whole row: the grid, and the other seeds of the chosen rate."""
        return 0 if self.impossible else len(self.grid) + self.seeds - 1

    @property
    def possible_trials(self) -> list[Trial]:
        """Every trial that the row may need, before validation chooses a learning rate."""
        seeds = () if self.impossible else range(self.seeds)
        return [replace(trial, seed=seed) for trial in self.grid for seed in seeds]

    def progress(self, store: Store) -> Progress:
        """Read the cell's trials from the store; choose the learning rate if the grid is done."""
        trials = [] if self.impossible else list(self.grid)
        records = _stored(trials, store)
        finished = [record for record in records.values() if record.outcome is not None]
        chosen = None
        if finished and len(records) == len(trials):
            sign = 1 if get_task(self.first.task).higher_is_better else -1
            chosen = max(finished, key=lambda each: sign * each.outcome.valid)  # type: ignore[union-attr]
            more = [replace(chosen.trial, seed=seed) for seed in range(1, self.seeds)]
            trials += more
            records |= _stored(more, store)
        return Progress(trials, records, chosen)


@dataclass(frozen=True)
class Progress:
    """The trials of one cell, as far as the store decides them.

    Attributes:
        trials: Those known to be needed: the grid, and once it is complete the other seeds.
        records: Those that have run.
        chosen: Record of the learning rate that is best on validation, first seed; None as long as
            one of the grid is missing, and if all failed.
    """

    trials: list[Trial]
    records: dict[Trial, Record]
    chosen: Record | None

    @property
    def pending(self) -> list[Trial]:
        """Trials still to be run."""
        return [trial for trial in self.trials if trial not in self.records]

    @property
    def failures(self) -> list[Record]:
        """Records of failed trials."""
        return [record for record in self.records.values() if record.outcome is None]

    @property
    def outcomes(self) -> list[Outcome]:
        """Outcomes of the chosen learning rate, one per seed that finished."""
        if self.chosen is None:
            return []
        rate = self.chosen.trial.learning_rate
        return [
            record.outcome
            for trial, record in self.records.items()
            if trial.learning_rate == rate and record.outcome is not None
        ]


@dataclass(frozen=True)
class Table:
    """The cells that are compared with one another: one data set, one set of options.

    Attributes:
        source: The data set, with its checksum.
        data: The loaded data; None once the table has been run.
        task: The task.
        options: Complete options of the task.
        varied: Those of them that differ between the tables of the sweep.
        cells: Controls and full table first.
    """

    source: Source
    data: Any
    task: Task
    options: dict[str, Any]
    varied: dict[str, Any]
    cells: list[Cell]

    @property
    def label(self) -> str:
        """Name of the data set and the options that vary."""
        return " ".join([self.source.name, *(f"{k}={v}" for k, v in self.varied.items())])

    @property
    def metric_label(self) -> str:
        """Name of the metric for headings, such as ``nDCG@10``."""
        return (self.task.label or self.task.metric).format(**self.options)

    def progress(self, store: Store) -> list[Progress]:
        """Return the progress of each cell."""
        return [cell.progress(store) for cell in self.cells]


def tables(spec: Spec, data: Any = None) -> Iterator[Table]:
    """Plan the tables of a spec; each data set is loaded when its turn comes.

    Args:
        spec: The sweep.
        data: Loaded data to use for the spec's one source, instead of loading it.

    Yields:
        Tables in the order of data sets and combinations of options.

    Raises:
        ValueError: The data is not of the kind that the task takes, or a method has no such
            option.
    """
    task = get_task(spec.task)
    for source in spec.data:
        loaded = source.load() if data is None else data
        if not isinstance(loaded, task.accepts):
            kind, wanted = type(loaded).__name__, task.accepts.__name__
            raise ValueError(f"{task.name} needs {wanted}, {source.label} is {kind}")
        pinned = source.pinned(loaded)
        for options in spec.variants():
            varied = {name: options[name] for name in spec.vary}
            cells = [_cell(grid, spec.seeds, task, loaded) for grid in spec.grids(options, pinned)]
            yield Table(pinned, loaded, task, options, varied, cells)


def _cell(grid: tuple[Trial, ...], seeds: int, task: Task, data: Any) -> Cell:
    seeds = 1 if grid[0].learning_rate is None else seeds
    try:
        return Cell(grid, seeds, task.size(grid[0], data))
    except BudgetError as error:
        return Cell(grid, seeds, None, str(error))
    except MissingExtra:
        raise
    except Exception as error:  # the method has no such option, or not of that value
        words = str(error) if isinstance(error, TypeError | ValueError) else repr(error)
        raise ValueError(f"{grid[0].method} cannot be planned: {words}") from error


def _stored(trials: list[Trial], store: Store) -> dict[Trial, Record]:
    found = {trial: store.get(trial) for trial in trials}
    return {trial: record for trial, record in found.items() if record is not None}
