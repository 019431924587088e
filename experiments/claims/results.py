"""The committed sweeps: losses by name of sweep, method and ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from memcom import sweep
from memcom._files import shipped
from memcom.sweep import Interval

VARIED = ("data", "embedding_dim", "model", "threshold")
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
            other: The method to compare with, at equal bytes; the full table if None.
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

    def carries_signal(self, sweep: str, **where: Any) -> bool:
        """True if the full table is clearly above every control, so that losses mean something."""
        controls = self.finished(sweep, nbytes=0, **where)
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
