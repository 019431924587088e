"""From trials to rows: means, intervals, losses against the full table, tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import permutations
from typing import Any

import numpy as np

from memcom.sweep.planning import Line, Table
from memcom.sweep.records import Record
from memcom.sweep.significance import Tests, bootstrap, holm, paired_tests, percentiles
from memcom.sweep.statistics import Interval, mean_interval
from memcom.sweep.store import Store
from memcom.tasks.protocol import Outcome, Setting

NOTHING = Interval(math.nan, math.nan, math.nan)
NOT_TESTED = Tests(math.nan, math.nan)


@dataclass(frozen=True)
class Summary:
    """One row: a method at a budget. NaN where nothing can be said.

    Attributes:
        method: Compressor or control.
        ratio: Ratio asked for, or None.
        budget: Bytes asked for, or None.
        status: ``finished``; else what is wrong: cannot be that small, failed, unfinished.
        nbytes: Bytes really stored in the input embedding.
        compression_ratio: Bytes of the full fp32 table over these; NaN without a table.
        total_nbytes: Stored bytes of the whole model.
        value: Test metric, mean over seeds, with its 95 % interval over units and seeds.
        half_width: Half the 95 % interval over seeds alone, by Student's t.
        loss: Relative loss to the full table, positive is worse, with its interval: over units
            and seeds, or by Student's t over seeds for a metric without units.
        p_value: Wilcoxon's signed-rank test against the full table, paired by unit.
        p_value_t: Paired t test against the full table.
        p_holm: `p_value` adjusted for all rows of the table.
        others: The other metrics, means over seeds, and the times where they were taken.
        valid: Validation metric, mean over seeds.
        learning_rate: Chosen on validation.
        rate_end: ``lowest`` or ``highest`` if it is an end of the row's grid, ``only`` if there is
            no other in it: a better one may lie beyond.
        best_epoch: Epoch of the weights, mean over seeds.
        last_epoch: Seeds whose weights are of the last epoch allowed: more might be better.
        seeds: Number of seeds that finished.
        failed: Number of failed trials, the grid included.
        seconds: Time of all trials of the row.
    """

    method: str
    ratio: float | None
    budget: int | None
    status: str
    nbytes: int = 0
    compression_ratio: float = math.nan
    total_nbytes: int = 0
    value: Interval = NOTHING
    half_width: float = math.nan
    loss: Interval = NOTHING
    p_value: float = math.nan
    p_value_t: float = math.nan
    p_holm: float = math.nan
    others: dict[str, float] = field(default_factory=dict)
    valid: float = math.nan
    learning_rate: float = math.nan
    rate_end: str = ""
    best_epoch: float = math.nan
    last_epoch: int = 0
    seeds: int = 0
    failed: int = 0
    seconds: float = 0.0

    def tidy(self, metric: str) -> dict[str, Any]:
        """The row as flat CSV fields; the metric's fields carry its name."""
        flat = asdict(self)
        for name, values in (("value", self.value), ("loss", self.loss)):
            del flat[name]
            new = metric if name == "value" else name
            flat |= {new: values.value, f"{new}_low": values.low, f"{new}_high": values.high}
        flat["seed_half_width"] = flat.pop("half_width")
        return flat | flat.pop("others")


def summarise(table: Table, store: Store, *, draws: int = 2000) -> list[Summary]:
    """The rows of a table from what the store holds now.

    Args:
        table: The plan.
        store: The trials.
        draws: Bootstrap samples.

    Returns:
        A row for every line of the plan, in its order.
    """
    runs = [_runs(table, line, store) for line in table.lines]
    rows = [_row(table, line, run, store) for line, run in zip(table.lines, runs, strict=True)]
    full = next(i for i, row in enumerate(rows) if row.method == "full")
    scores = _scores(table, runs, draws)
    for i, own in scores.items():
        if own.drawn is not None:
            rows[i] = replace(rows[i], value=percentiles(rows[i].value.value, own.drawn))
        if i == full or full not in scores:
            continue
        reference, tests = scores[full], NOT_TESTED
        if own.units is not None and reference.units is not None:
            tests = paired_tests(own.units.mean(0), reference.units.mean(0))
        loss = _loss(own, reference, table.task.higher_is_better)
        rows[i] = replace(rows[i], loss=loss, p_value=tests.wilcoxon, p_value_t=tests.t)
    adjusted = holm([row.p_value for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]


def compare_pairs(table: Table, store: Store, *, draws: int = 2000) -> list[dict[str, Any]]:
    """Every two methods at one budget, each against the other.

    Args:
        table: The plan.
        store: The trials.
        draws: Bootstrap samples.

    Returns:
        Rows with ``method``, ``other``, ``ratio``, ``budget``, and ``loss``: how much of the
        other's score the method loses, positive is worse, with its 95 % interval ``loss_low`` to
        ``loss_high``, paired by unit, or by seed for a metric without units.
    """
    scores = _scores(table, [_runs(table, line, store) for line in table.lines], draws)
    found = []
    for i, j in permutations(scores, 2):
        one, other = table.lines[i].cell.setting, table.lines[j].cell.setting
        if (one.ratio, one.nbytes) != (other.ratio, other.nbytes):
            continue
        loss = _loss(scores[i], scores[j], table.task.higher_is_better)
        row = {"method": one.method, "other": other.method, "ratio": one.ratio}
        row |= {"budget": one.nbytes, "loss": loss.value}
        found.append(row | {"loss_low": loss.low, "loss_high": loss.high})
    return found


def records_of(table: Table, store: Store) -> list[Record]:
    """All trials of a table that there are, in the order of the plan."""
    found = (store.get(job) for job in table.wanted(store))
    return [record for record in found if record is not None]


@dataclass(frozen=True)
class _Scores:
    """What a row scored: ``(seeds,)`` means, ``(seeds, units)`` values, ``(draws,)`` bootstrap."""

    means: np.ndarray
    units: np.ndarray | None
    drawn: np.ndarray | None


def _scores(table: Table, runs: Sequence[Sequence[Outcome]], draws: int) -> dict[int, _Scores]:
    """The scores of the rows that have any, by their place in the table."""
    metric = table.task.metric
    units = {
        str(i): np.stack([run.units[metric] for run in outcomes])
        for i, outcomes in enumerate(runs)
        if outcomes and all(metric in run.units for run in outcomes)
    }
    drawn = bootstrap(units, draws=draws)
    return {
        i: _Scores(
            np.array([run.metrics[metric] for run in outcomes]),
            units.get(str(i)),
            drawn.get(str(i)),
        )
        for i, outcomes in enumerate(runs)
        if outcomes
    }


def _loss(own: _Scores, other: _Scores, higher_is_better: bool) -> Interval:
    """How much of the other's score is lost; the interval is over units and seeds, or seeds."""
    sign = 1 if higher_is_better else -1
    base = other.means.mean()
    if not base:
        return NOTHING
    loss = float(sign * (1 - own.means.mean() / base))
    if own.drawn is not None and other.drawn is not None and other.drawn.all():
        return percentiles(loss, sign * (1 - own.drawn / other.drawn))
    half = math.nan
    if len(own.means) == len(other.means) and other.means.all():
        half = mean_interval(sign * (1 - own.means / other.means))[1]
    return Interval(loss, loss - half, loss + half)


def _of_line(table: Table, line: Line, store: Store) -> list[Record]:
    return records_of(replace(table, lines=[line]), store)


def _runs(table: Table, line: Line, store: Store) -> list[Outcome]:
    """The outcomes of the chosen learning rate, one per seed that finished."""
    chosen = table.chosen(line, store)
    if line.impossible or chosen is None:
        return []
    rate = chosen.job.setting.learning_rate
    same = [r for r in _of_line(table, line, store) if r.job.setting.learning_rate == rate]
    return [record.outcome for record in same if record.outcome is not None]


def _row(table: Table, line: Line, runs: Sequence[Outcome], store: Store) -> Summary:
    setting = line.cell.setting
    records = _of_line(table, line, store)
    failures = [record for record in records if record.outcome is None]
    row = Summary(
        setting.method,
        setting.ratio,
        setting.nbytes,
        _status(line, records, failures, runs),
        failed=len(failures),
        seconds=sum(record.seconds for record in records),
    )
    chosen = table.chosen(line, store)
    if not runs or chosen is None:
        return row
    metric, size = table.task.metric, runs[0].size
    mean, half = mean_interval([run.metrics[metric] for run in runs])
    rate = chosen.job.setting.learning_rate
    means = {name: np.mean([run.metrics[name] for run in runs]) for name in runs[0].metrics}
    return replace(
        row,
        nbytes=size.nbytes,
        compression_ratio=size.full_nbytes / size.nbytes if size.nbytes else math.nan,
        total_nbytes=size.nbytes + runs[0].output_nbytes,
        value=Interval(mean, mean - half, mean + half),  # over seeds, where there are no units
        half_width=half,
        others={name: float(mean) for name, mean in means.items() if name != metric}
        | store.times(chosen.job),
        valid=float(np.mean([run.valid for run in runs])),
        learning_rate=math.nan if rate is None else rate,
        rate_end=_end(line.cell.grid, chosen.job.setting),
        best_epoch=float(np.mean([run.best_epoch for run in runs])),
        last_epoch=sum(run.best_epoch == table.options.get("epochs") for run in runs),
        seeds=len(runs),
    )


def _end(grid: Sequence[Setting], chosen: Setting) -> str:
    """Which end of a grid of learning rates the choice is, if one."""
    rates = sorted({each.learning_rate for each in grid if each.learning_rate is not None})
    if len(rates) < 2:
        return "only" if rates else ""
    rate = chosen.learning_rate
    return "lowest" if rate == rates[0] else "highest" if rate == rates[-1] else ""


def _status(
    line: Line, records: Sequence[Record], failures: Sequence[Record], runs: Sequence[Outcome]
) -> str:
    if line.impossible:
        return f"cannot be that small: {line.impossible}"
    seeds = line.cell.seeds if line.cell.trained else 1
    if len(runs) == seeds:
        return "finished"
    if runs and len(records) == line.cell.num_trials:
        return f"{seeds - len(runs)} of {seeds} seeds failed: {failures[-1].failed}"
    if failures and len(failures) == len(line.cell.grid) == len(records):
        return f"failed: {failures[-1].failed}"
    return f"unfinished: {len(records)} of {line.cell.num_trials} trials"
