"""The table of a comparison: one row a method and ratio, made from the results of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from memcom.experiments.statistics import Interval, mean_interval, relative_change
from memcom.experiments.trials import Result


@dataclass(frozen=True)
class Row:
    """One line of the comparison. Fractions, not per cent; NaN where nothing can be said.

    Attributes:
        method: Compressor or control.
        ratio: Ratio asked for; None for the full table and the controls.
        failed: Why there is no result; empty if there is one.
        nbytes: Stored bytes of the input embedding.
        compression_ratio: Bytes of the full fp32 table over these; 0 without a table.
        output_nbytes: Stored bytes behind the input embedding.
        ndcg: Test nDCG@k, mean over seeds.
        ndcg_interval: Half width of its 95 % interval over seeds.
        recall: Test Recall@k, mean over seeds.
        loss: Relative loss of nDCG@k to the full table; positive is worse.
        loss_low: Lower end of its 95 % interval over users.
        loss_high: Upper end.
        lookup_time: Time of a lookup over that of the full table.
        step_time: Time of a training step over that of the full table.
        learning_rate: Chosen on validation.
        valid_ndcg: Validation nDCG@k, mean over seeds.
        best_epoch: Epoch of the weights, mean over seeds.
        seeds: Number of seeds that finished.
        seconds: Time of all its trials, the choice of the learning rate included.
    """

    method: str
    ratio: float | None
    failed: str = ""
    nbytes: int = 0
    compression_ratio: float = 0.0
    output_nbytes: int = 0
    ndcg: float = np.nan
    ndcg_interval: float = np.nan
    recall: float = np.nan
    loss: float = np.nan
    loss_low: float = np.nan
    loss_high: float = np.nan
    lookup_time: float = np.nan
    step_time: float = np.nan
    learning_rate: float = np.nan
    valid_ndcg: float = np.nan
    best_epoch: float = np.nan
    seeds: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`.

    Attributes:
        data: Name of the data set.
        about: What was measured, as printable facts by name.
        rows: The table: controls, the full table, then the methods for each ratio.
        margins: Relative gain of the full table over each control, with interval over users.
        results: Every trial that was run.
    """

    data: str
    about: dict[str, str]
    rows: list[Row]
    margins: dict[str, Interval] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    @property
    def carries_signal(self) -> bool:
        """Whether the full table beats every control clearly: all intervals above zero."""
        return bool(self.margins) and all(margin.low > 0 for margin in self.margins.values())


def make_row(cell: tuple[str, float | None], grid: list[Result], run: list[Result]) -> Row:
    """A row without its comparison to the full table; failed if one of its seeds has failed."""
    method, ratio = cell
    seconds = sum(result.seconds for result in {id(r): r for r in (*grid, *run)}.values())
    failed = [result.failed for result in run if result.failed]
    if failed:
        return Row(method, ratio, failed=failed[0], seconds=seconds)
    first = run[0]
    ndcg, interval = mean_interval([result.ndcg.mean() for result in run])
    return Row(
        method,
        ratio,
        nbytes=first.nbytes,
        compression_ratio=first.compression_ratio,
        output_nbytes=first.output_nbytes,
        ndcg=ndcg,
        ndcg_interval=interval,
        recall=float(np.mean([result.recall.mean() for result in run])),
        learning_rate=first.trial.training.learning_rate if first.best_epoch else np.nan,
        valid_ndcg=float(np.mean([result.valid_ndcg for result in run])),
        best_epoch=float(np.mean([result.best_epoch for result in run])),
        seeds=len(run),
        seconds=seconds,
    )


def per_user(run: list[Result]) -> np.ndarray:
    """NDCG of each user, averaged over the seeds; empty if one has failed."""
    if any(result.failed for result in run):
        return np.empty(0)
    return np.mean([result.ndcg for result in run], axis=0)


def with_loss(row: Row, run: list[Result], full: list[Result]) -> Row:
    """The row with its relative loss to the full table, where both have finished."""
    values, reference = per_user(run), per_user(full)
    if not (values.size and reference.size):
        return row
    change = relative_change(values, reference)
    return replace(row, loss=-change.value, loss_low=-change.high, loss_high=-change.low)


def by_ratio(rows: Sequence[Row]) -> list[tuple[float | None, list[Row]]]:
    """Rows in groups of one ratio, in their order."""
    return [(ratio, list(group)) for ratio, group in groupby(rows, key=lambda row: row.ratio)]
