"""From trials to rows: means, intervals, losses against the full table, tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from memcom.sweep.plan import Cell, Progress, Table, tuned_value
from memcom.sweep.statistics import (
    TAILS,
    Interval,
    bootstrap,
    holm,
    mean_interval,
    p_value,
    percentiles,
)
from memcom.sweep.store import Store
from memcom.sweep.trial import Record, Trial
from memcom.tasks._forms import split_name
from memcom.tasks.protocol import Outcome

UNKNOWN = Interval(math.nan, math.nan, math.nan)


class Choice(NamedTuple):
    """A value that validation chose.

    Attributes:
        value: The value.
        end: ``lowest`` or ``highest`` if it is an end of the numbers that were tried, ``only`` if
            there was one value: a better one may lie beyond. Empty otherwise.
    """

    value: Any
    end: str = ""


NOTHING = Choice(None)


@dataclass(frozen=True)
class Row:
    """The results of a method at a budget. NaN where there is no value.

    Attributes:
        method: Compressor or control.
        ratio: Ratio asked for, or None.
        budget: Bytes asked for, or None.
        status: ``finished``, or the reason why it is not: cannot be that small, failed, unfinished.
        nbytes: Bytes stored in the input embedding.
        compression_ratio: Bytes of the full fp32 table over `nbytes`; NaN without a table.
        total_nbytes: Stored bytes of the whole model.
        p_value: p of "it loses nothing against the full table", that of the interval of `loss`.
        p_holm: `p_value` adjusted for all rows of the table.
        valid: Validation metric, mean over seeds.
        learning_rate: Chosen on validation.
        tuned: What validation chose for the row, by option, the learning rate included; None where
            nothing is learned.
        best_epoch: Epoch of the weights, mean over seeds.
        last_epoch: Seeds whose weights are of the last epoch allowed: more might be better.
        seeds: Number of seeds that finished.
        failed: Number of failed trials, the grid included.
        seconds: Time of all trials of the row.
        value: Test metric, mean over seeds, with its interval over units and seeds, or by Student's
            t over seeds for a metric without units.
        loss: Relative loss to the full table, positive is worse, with its interval as for `value`.
        seed_half_width: Half the 95 % interval of the test metric over seeds, by Student's t.
        others: The other metrics, means over seeds, and times where they were taken.
        against: Relative loss to every other method at the same budget.
        records: The trials that have run.
    """

    method: str
    ratio: float | None
    budget: int | None
    status: str
    nbytes: int = 0
    compression_ratio: float = math.nan
    total_nbytes: int = 0
    p_value: float = math.nan
    p_holm: float = math.nan
    valid: float = math.nan
    learning_rate: float = math.nan
    tuned: dict[str, Choice] = field(default_factory=dict)
    best_epoch: float = math.nan
    last_epoch: int = 0
    seeds: int = 0
    failed: int = 0
    seconds: float = 0.0
    value: Interval = UNKNOWN
    loss: Interval = UNKNOWN
    seed_half_width: float = math.nan
    others: dict[str, float] = field(default_factory=dict)
    against: dict[str, Interval] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    def flat(self, metric: str) -> dict[str, Any]:
        """Return the row as the fields of ``summary.csv``.

        `value` is named by the metric. Each option of `tuned` has a field of its name, and one with
        ``_end`` behind it.
        """
        flat: dict[str, Any] = {}
        for name in (each.name for each in fields(self)):
            value = getattr(self, name)
            if isinstance(value, Interval):
                column = metric if name == "value" else name
                flat |= dict(zip(_ends(column), value, strict=True))
            elif name == "tuned":
                for option, choice in self.tuned.items():
                    flat |= {option: choice.value, f"{option}_end": choice.end}
            elif name not in ("others", "against", "records"):
                flat[name] = value
        return flat | self.others

    def pairs(self) -> list[dict[str, Any]]:
        """Return the losses to other methods as rows of ``pairs.csv``."""
        return [
            {"method": self.method, "other": other, "ratio": self.ratio, "budget": self.budget}
            | dict(zip(_ends("loss"), loss, strict=True))
            for other, loss in self.against.items()
        ]


@dataclass(frozen=True)
class _Scores:
    """Scores of one row: ``(seeds,)`` means, and ``(draws,)`` of the bootstrap if it has units."""

    means: np.ndarray
    drawn: np.ndarray | None


def summarise(table: Table, store: Store, *, draws: int = 2000) -> list[Row]:
    """Compute the rows of a table from what the store holds now.

    Args:
        table: The plan.
        store: The trials.
        draws: Number of bootstrap samples.

    Returns:
        A row per cell of the plan, in its order; behind a row those that were derived from its
        models without training.
    """
    found = table.progress(store)
    rows, outcomes = [], []
    for cell, progress in zip(table.cells, found, strict=True):
        row = _row(table, cell, progress, store)
        rows.append(row)
        outcomes.append(progress.outcomes)
        for name in progress.outcomes[0].derived if progress.outcomes else ():
            outcomes.append([each.derived[name] for each in progress.outcomes])
            method, ratio = split_name(name)
            same = replace(row, method=method, ratio=ratio, failed=0, seconds=0.0, records=[])
            rows.append(_measured(same, table, outcomes[-1]))
    scores = _scores(table.task.metric, outcomes, draws)
    full = next(i for i, row in enumerate(rows) if row.method == "full")
    better = table.task.higher_is_better
    for i, own in scores.items():
        row = rows[i]
        same_budget = [
            j for j in scores if (rows[j].ratio, rows[j].budget) == (row.ratio, row.budget)
        ]
        against = {rows[j].method: _loss(own, scores[j], better) for j in same_budget if j != i}
        row = replace(row, against=against)
        if own.drawn is not None:
            row = replace(row, value=percentiles(row.value.value, own.drawn))
        if full in scores and i != full:
            loss = _loss(own, scores[full], better)
            freedom = TAILS if own.drawn is not None else max(1, len(own.means) - 1)
            row = replace(row, loss=loss, p_value=p_value(loss, freedom=freedom))
        rows[i] = row
    adjusted = holm([row.p_value for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]


def _row(table: Table, cell: Cell, found: Progress, store: Store) -> Row:
    """A row without what needs other rows."""
    records, outcomes = list(found.records.values()), found.outcomes
    row = Row(
        cell.first.method,
        cell.first.ratio,
        cell.first.nbytes,
        _status(cell, found),
        failed=len(found.failures),
        seconds=sum(record.seconds for record in records),
        records=records,
        tuned=dict.fromkeys(table.tune.space, NOTHING),
    )
    if found.chosen is None or not outcomes:
        return row
    rate = found.chosen.trial.learning_rate
    row = replace(
        _measured(row, table, outcomes),
        learning_rate=math.nan if rate is None else rate,
        tuned=_tuned(table, cell, found.chosen.trial),
    )
    return replace(row, others=row.others | store.times(found.chosen.trial))


def _measured(row: Row, table: Table, outcomes: Sequence[Outcome]) -> Row:
    """A row with the means of its outcomes, one per seed."""
    metric, size = table.task.metric, outcomes[0].size
    means = {
        name: np.mean([each.metrics[name] for each in outcomes]) for name in outcomes[0].metrics
    }
    mean, half = mean_interval([each.metrics[metric] for each in outcomes])
    return replace(
        row,
        nbytes=size.nbytes,
        compression_ratio=size.full_nbytes / size.nbytes if size.full_nbytes else math.nan,
        total_nbytes=size.nbytes + outcomes[0].output_nbytes,
        valid=float(np.mean([each.valid for each in outcomes])),
        best_epoch=float(np.mean([each.best_epoch for each in outcomes])),
        last_epoch=sum(each.best_epoch == table.options.get("epochs") for each in outcomes),
        seeds=len(outcomes),
        value=Interval(mean, mean - half, mean + half),
        seed_half_width=half,
        others={name: float(mean) for name, mean in means.items() if name != metric},
    )


def _status(cell: Cell, found: Progress) -> str:
    if cell.impossible:
        return cell.why_not
    ran, finished, failures = len(found.records), len(found.outcomes), found.failures
    if finished == cell.seeds:
        return "finished"
    if finished and ran == cell.num_trials:
        missing = cell.seeds - finished
        return f"{missing} of {cell.seeds} seeds failed: {failures[-1].failed}"
    if failures and not found.pending:
        return f"failed: {failures[-1].failed}"
    return f"unfinished: {ran} of {cell.num_trials} trials"


def _tuned(table: Table, cell: Cell, chosen: Trial) -> dict[str, Choice]:
    """The choice of each tuned option in a trial of the grid."""
    if chosen.learning_rate is None:  # nothing is learned
        return dict.fromkeys(table.tune.space, NOTHING)
    found = {}
    for name in table.tune.space:
        tried = [tuned_value(trial, name) for trial in cell.grid]
        value, end = tuned_value(chosen, name), ""
        if all(each == value for each in tried):
            end = "only"
        elif all(isinstance(each, Real) and not isinstance(each, bool) for each in tried):
            end = {min(tried): "lowest", max(tried): "highest"}.get(value, "")
        found[name] = Choice(value, end)
    return found


def _scores(metric: str, outcomes: Sequence[Sequence[Outcome]], draws: int) -> dict[int, _Scores]:
    """The scores of the rows that have any, by place in the table."""
    scored = {i: each for i, each in enumerate(outcomes) if each}
    units = {
        i: np.stack([each.units[metric] for each in seeds])
        for i, seeds in scored.items()
        if all(metric in each.units for each in seeds)
    }
    drawn = bootstrap(units, draws=draws)
    return {
        i: _Scores(np.array([each.metrics[metric] for each in seeds]), drawn.get(i))
        for i, seeds in scored.items()
    }


def _loss(own: _Scores, other: _Scores, higher_is_better: bool) -> Interval:
    """Relative loss to another row; the interval is over units and seeds, or paired by seed."""
    sign = 1 if higher_is_better else -1
    base = other.means.mean()
    if not base:
        return UNKNOWN
    loss = float(sign * (1 - own.means.mean() / base))
    if own.drawn is not None and other.drawn is not None and other.drawn.all():
        return percentiles(loss, sign * (1 - own.drawn / other.drawn))
    half = math.nan
    if len(own.means) == len(other.means) and other.means.all():
        half = mean_interval(sign * (1 - own.means / other.means))[1]
    return Interval(loss, loss - half, loss + half)


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"
