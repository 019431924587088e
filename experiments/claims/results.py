"""The committed sweeps: losses by name of sweep, method and ratio."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from memcom import sweep
from memcom._files import shipped
from memcom.sweep import Interval

SAME_BYTES = 0.02  # at most so far apart, bytes are the same
Z_95 = 1.96
VARIED = ("data", "embedding_dim", "batch_norm", "dropout", "model", "threshold")
"""Columns that tell the tables of one sweep apart."""


class Results:
    """The sweeps in a folder.

    Args:
        folder: Holds a folder per sweep; that of the committed results if None.

    Attributes:
        rows: One row per sweep, method and budget; see `memcom.sweep.read_rows`.
        pairs: One row per pair of methods at one budget; see `memcom.sweep.read_pairs`.
        trials: One row per trial.
        data_sets: One row per data set for ranking: sizes, median number of interactions of an
            item, and ``head_share``, the share of the interactions that goes to the most popular
            1/16 of the items. Empty without the file.

    Raises:
        FileNotFoundError: The folder holds no sweep.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        folder = shipped("experiments/results") if folder is None else Path(folder)
        self.rows, self.pairs, self.trials = (
            read(folder) for read in (sweep.read_rows, sweep.read_pairs, sweep.read_trials)
        )
        self._finished = _by_sweep(select(self.rows, status="finished"))
        self._pairs = _by_sweep(self.pairs)
        described = folder / "data-sets.csv"
        self.data_sets = pd.read_csv(described) if described.exists() else pd.DataFrame()

    @property
    def sweeps(self) -> list[str]:
        """Names of the sweeps, sorted."""
        return sorted(self.rows["sweep"].unique())

    def finished(self, sweep: str, **where: Any) -> pd.DataFrame:
        """Finished rows of a sweep with these values by column, perhaps none."""
        return select(self._finished.get(sweep, self.rows.iloc[:0]), **where)

    def tables(self, sweep: str) -> list[dict[str, Any]]:
        """Values of `VARIED` that tell the tables of a sweep apart: a mapping per table."""
        rows = self.finished(sweep)
        names = [name for name in VARIED if name in rows and rows[name].nunique() > 1]
        if not names:
            return [{}] if len(rows) else []
        found: list[dict[str, Any]] = rows[names].drop_duplicates().to_dict("records")
        return found

    def ratios(self, sweep: str, **where: Any) -> list[float]:
        """Ratios that were asked for in a table, ascending."""
        return sorted(self.finished(sweep, **where)["ratio"].dropna().unique())

    def loss(
        self, sweep: str, method: str, ratio: float, other: str | None = None, **where: Any
    ) -> Interval | None:
        """Relative loss of a method, with its 95 % interval; negative where it is better.

        Args:
            sweep: Name of the sweep.
            method: The method as in its specification.
            ratio: The ratio asked for.
            other: The method to compare with, at the same ratio asked for; the full table if None.
            **where: Values that select a table of the sweep.

        Returns:
            The loss; None if it was not measured or the method cannot be that small.

        Raises:
            ValueError: Several tables have such a row.
        """
        if other is None:
            rows = self.finished(sweep, method=method, ratio=ratio, **where)
        else:
            pairs = self._pairs.get(sweep, self.pairs.iloc[:0])
            rows = select(pairs, method=method, other=other, ratio=ratio, **where)
        if rows.empty or pd.isna(rows["loss"].iloc[0]):
            return None
        if len(rows) > 1:
            raise ValueError(f"{sweep} has {len(rows)} rows of {method} at {ratio:g}: name a table")
        return Interval(*(float(rows[f"loss{end}"].iloc[0]) for end in ("", "_low", "_high")))

    def loss_at_equal_bytes(
        self, sweep: str, method: str, ratio: float, other: str, **where: Any
    ) -> Interval | None:
        """Relative loss of a method against another that stores as many bytes.

        Where the two rows at the ratio asked for differ by at most `SAME_BYTES`, it is their paired
        loss. Else the other's score is interpolated between its rows with fewer and with more
        bytes, its logarithm over the logarithm of the bytes; the three rows are then taken as
        independent, which makes the interval wider than paired ones.

        Args:
            sweep: Name of the sweep.
            method: The method as in its specification.
            ratio: The ratio asked for.
            other: The method to compare with.
            **where: Values that select a table of the sweep.

        Returns:
            The loss; None if it was not measured, or the other has no rows on both sides.
        """
        rows = self.finished(sweep, **where)
        own = select(rows, method=method, ratio=ratio)
        curve = select(rows, method=other).sort_values("nbytes")
        if own.empty or curve.empty:
            return None
        nbytes = own["nbytes"].iloc[0]
        near = select(curve, ratio=ratio)["nbytes"]
        if len(near) and abs(near.iloc[0] / nbytes - 1) <= SAME_BYTES:
            return self.loss(sweep, method, ratio, other, **where)
        fewer, more = curve[curve["nbytes"] < nbytes], curve[curve["nbytes"] > nbytes]
        if fewer.empty or more.empty:
            return None
        full, worst = select(rows, method="full")["value"].iloc[0], rows.loc[rows["loss"].idxmax()]
        sign = 1 if worst["value"] < full else -1  # -1 where lower is better
        logs = {}
        for name, row in (("own", own.iloc[0]), ("low", fewer.iloc[-1]), ("high", more.iloc[0])):
            kept = row["value"] / full
            error = (row["loss_high"] - row["loss_low"]) / (2 * Z_95) / kept
            logs[name] = math.log(row["nbytes"]), math.log(kept), error
        weight = (logs["own"][0] - logs["low"][0]) / (logs["high"][0] - logs["low"][0])
        weights = {"own": 1.0, "low": weight - 1, "high": -weight}
        middle = sum(w * logs[name][1] for name, w in weights.items())
        error = math.hypot(*(w * logs[name][2] for name, w in weights.items()))
        value, *ends = (sign * (1 - math.exp(middle + z * error)) for z in (0, Z_95, -Z_95))
        return Interval(value, min(ends), max(ends))

    def carries_signal(self, sweep: str, **where: Any) -> bool:
        """True if the full table is clearly above every control, so that losses mean something."""
        controls = self.finished(sweep, nbytes=0, **where)  # references have bytes
        return not controls.empty and bool((controls["loss_low"] > 0).all())


def select(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Rows that have these values; a missing column holds no value."""
    for name, value in wanted.items():
        if name not in table:
            return table.iloc[:0]
        table = table[table[name] == value]
    return table


def _by_sweep(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return dict(iter(table.groupby("sweep"))) if len(table) else {}
