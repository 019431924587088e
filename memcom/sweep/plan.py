"""Tables of cells with planned bytes, and the trials that each cell still needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from memcom._extras import MissingExtra
from memcom.budget import BudgetError
from memcom.sweep.source import Source
from memcom.sweep.spec import Spec, value_of
from memcom.sweep.store import Store
from memcom.sweep.trial import Record, Trial
from memcom.sweep.tune import Tune
from memcom.tasks.protocol import Outcome, Size, Task, get_task


@dataclass(frozen=True)
class Cell:
    """A method at a budget: one row of a table, before it is run.

    Attributes:
        grid: The trials of the tuning stage, one per candidate, with the first seed.
        seeds: Number of seeds of the candidate that validation chooses; 1 where nothing is random.
        size: Planned bytes of the input embedding; None if the method cannot be that small.
        impossible: Why it cannot; empty if it can.
        epochs: Epochs of the final trials, where those of the grid have fewer.
        finalists: Candidates that are trained for so many epochs before one is chosen.
    """

    grid: tuple[Trial, ...]
    seeds: int
    size: Size | None = None
    impossible: str = ""
    epochs: int | None = None
    finalists: int = 1

    @property
    def first(self) -> Trial:
        """The first of the grid, for method and budget."""
        return self.grid[0]

    @property
    def why_not(self) -> str:
        """The reason why there is no such row, in words; empty if there is one."""
        no_budget = self.first.ratio is None and self.first.nbytes is None
        what = "cannot be computed" if no_budget else "cannot be that small"
        return f"{what}: {self.impossible}" if self.impossible else ""

    @property
    def num_trials(self) -> int:
        """Trials of the whole row: the grid, the finalists, the seeds of the chosen one."""
        if self.impossible:
            return 0
        others = min(self.finalists, len(self.grid)) - 1
        return len({*self.grid, *self.finals(self.first)}) + others

    @property
    def possible_trials(self) -> list[Trial]:
        """Every trial that the row may need, before validation chooses a candidate."""
        if self.impossible:
            return []
        finals = [final for trial in self.grid for final in self.finals(trial)]
        return list(dict.fromkeys([*self.grid, *finals]))

    def finals(self, chosen: Trial) -> list[Trial]:
        """Return the trials that are measured, one per seed, if a trial of the grid is chosen."""
        if self.epochs is not None:
            chosen = replace(chosen, options={**chosen.options, "epochs": self.epochs})
        return [replace(chosen, seed=seed) for seed in range(self.seeds)]

    def progress(self, store: Store) -> Progress:
        """Read the cell's trials from the store; choose a candidate if the stage is done."""
        grid = [] if self.impossible else list(self.grid)
        found = Progress(grid, _stored(grid, store), None, [])
        best = _best(found)[: self.finalists]
        if self.finalists > 1 and best:
            long = [self.finals(record.trial)[0] for record in best]
            found = found.with_more(long, store)
            best = _best(Progress(long, found.records, None, []))
        if best:
            finals = self.finals(best[0].trial)
            found = replace(found.with_more(finals, store), chosen=best[0], finals=finals)
        return found


@dataclass(frozen=True)
class Progress:
    """The trials of one cell, as far as the store decides them.

    Attributes:
        trials: Those known to be needed: the grid, once it is complete the finalists, and then the
            final ones.
        records: Those that have run.
        chosen: Record of the candidate that is best on validation, in its longest trial; None as
            long as one is missing, and if all failed.
        finals: The trials that are measured, of all seeds.
    """

    trials: list[Trial]
    records: dict[Trial, Record]
    chosen: Record | None
    finals: list[Trial]

    def with_more(self, trials: list[Trial], store: Store) -> Progress:
        """Return the progress with further trials."""
        more = [trial for trial in trials if trial not in self.trials]
        return replace(self, trials=self.trials + more, records=self.records | _stored(more, store))

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
        """Outcomes of the final trials, one per seed that finished."""
        records = [self.records[trial] for trial in self.finals if trial in self.records]
        return [record.outcome for record in records if record.outcome is not None]


@dataclass(frozen=True)
class Table:
    """The cells that are compared with one another: one data set, one set of options.

    Attributes:
        source: The data set, with its checksum.
        data: The loaded data; None once the table has been run.
        task: The task.
        options: Complete options of the task.
        varied: Those of them that differ between the tables of the sweep.
        tune: How every row's candidates were made.
        cells: Controls and full table first.
    """

    source: Source
    data: Any
    task: Task
    options: dict[str, Any]
    varied: dict[str, Any]
    tune: Tune
    cells: list[Cell]

    @property
    def label(self) -> str:
        """Name of the data set and the options that vary."""
        return " ".join([self.source.name, *(f"{k}={v}" for k, v in self.varied.items())])

    @property
    def tuned(self) -> list[str]:
        """Names of the options that differ between the trials of a row, but for the rate."""
        names = [name for name in self.tune.space if name != "learning_rate"]
        return [*names, *(["epochs"] if self.tune.epochs else [])]

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
            varied = {name: value_of(options, name) for name in spec.vary}
            epochs = None if spec.tune.epochs is None else options["epochs"]
            cells = [
                _cell(Cell(grid, spec.seeds, None, "", epochs, spec.tune.finalists), task, loaded)
                for grid in spec.grids(options, pinned)
            ]
            yield Table(pinned, loaded, task, options, varied, spec.stage, cells)


def _cell(cell: Cell, task: Task, data: Any) -> Cell:
    """The cell with its size, or with the reason why it cannot be so small."""
    if cell.first.method in task.untrained:
        cell = replace(cell, seeds=1)
    try:
        return replace(cell, size=task.size(cell.first, data))
    except BudgetError as error:
        return replace(cell, impossible=str(error))
    except MissingExtra:
        raise
    except Exception as error:  # the method has no such option, or not of that value
        words = str(error) if isinstance(error, TypeError | ValueError) else repr(error)
        raise ValueError(f"{cell.first.method} cannot be planned: {words}") from error


def tuned_value(trial: Trial, name: str) -> Any:
    """Return what a trial has for an option of the tuning stage; None if it has no such option."""
    if name == "learning_rate":
        return trial.learning_rate
    return value_of(trial.options, name)


def _best(found: Progress) -> list[Record]:
    """The finished trials, best on validation first; none as long as one is missing."""
    records = [found.records[trial] for trial in found.trials if trial in found.records]
    if len(records) < len(found.trials):
        return []
    finished = [record for record in records if record.outcome is not None]
    return sorted(finished, key=_validation, reverse=True)


def _validation(record: Record) -> float:
    """The score of a finished trial on validation; higher is better."""
    assert record.outcome is not None
    sign = 1 if get_task(record.trial.task).higher_is_better else -1
    return sign * record.outcome.valid


def _stored(trials: list[Trial], store: Store) -> dict[Trial, Record]:
    found = {trial: store.get(trial) for trial in trials}
    return {trial: record for trial, record in found.items() if record is not None}
