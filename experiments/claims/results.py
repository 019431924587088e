"""The committed sweeps, as tables to ask.

FOLDER/<sweep>/summary.csv    a row per method and budget
FOLDER/<sweep>/pairs.csv      every two methods at one budget, against each other; may be missing
FOLDER/<sweep>/trials.csv     a row per trial, with seed, bytes, time, machine and versions
FOLDER/data-sets.csv          a row per data set for ranking
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import memcom
from memcom.sweep.statistics import Interval

VARIED = ("embedding_dim", "model", "threshold")
"""Options that vary between the tables of a committed sweep."""


class Results:
    """What a folder of sweeps holds.

    Args:
        folder: With a folder per sweep.

    Attributes:
        summary: One row per sweep, method and budget: ``sweep``, ``data``, ``task``, ``metric``,
            the options that vary, ``method``, ``ratio`` (asked), ``compression_ratio`` and
            ``nbytes`` (stored), ``value`` of the metric and relative ``loss`` against the full
            table, each with ``_low`` and ``_high``, ``seeds``, ``seconds``, ``status``, and
            whatever else was measured.
        pairs: ``sweep``, ``data``, ``method``, ``other``, ``ratio``, ``loss``, ``loss_low``,
            ``loss_high``: what the first loses against the other.
        trials: One row per trial.
        data_sets: One row per data set for ranking: its sizes, the median number of interactions
            of an item, and ``head_share``: the share of all interactions that goes to the most
            popular 1/16 of the items. Empty where the folder has no such file.

    Raises:
        FileNotFoundError: There is no sweep.
    """

    def __init__(self, folder: Path | str) -> None:
        found = sorted(Path(folder).glob("*/summary.csv"))
        if not found:
            raise FileNotFoundError(f"no */summary.csv in {folder}")
        self.summary = pd.concat([_summary(path) for path in found], ignore_index=True)
        self.pairs, self.trials = (
            pd.concat(map(_read, sorted(Path(folder).glob(f"*/{name}.csv"))), ignore_index=True)
            for name in ("pairs", "trials")
        )
        described = Path(folder) / "data-sets.csv"
        self.data_sets = pd.read_csv(described) if described.exists() else pd.DataFrame()

    @classmethod
    def committed(cls) -> Results:
        """The results that belong to this code, from ``experiments/results`` of its checkout.

        Returns:
            The results.

        Raises:
            FileNotFoundError: The code is no checkout: packages do not carry the results.
        """
        return cls(Path(memcom.__file__).resolve().parents[1] / "experiments" / "results")

    def tables(self) -> dict[str, pd.DataFrame]:
        """The finished rows of every table, by the sweep's name and what varies in it.

        Returns:
            All of them but those that compress nothing.
        """
        return {
            ", ".join([sweep, *(f"{name} {value}" for name, value in where.items())]): rows
            for sweep in self.sweeps
            for where in self.variants(sweep)
            if (rows := self.rows(sweep, **where))["ratio"].notna().any()
        }

    @property
    def sweeps(self) -> list[str]:
        """Names of the sweeps, sorted."""
        return sorted(self.summary["sweep"].unique())

    def rows(self, sweep: str, **where: Any) -> pd.DataFrame:
        """Finished rows of a sweep with these values, such as ``method="qr"`` or ``ratio=16``.

        Args:
            sweep: Its name; there need be none.
            **where: Values by column; a column that there is not holds no value.

        Returns:
            Some rows of `summary`, perhaps none.
        """
        return _where(self.summary, {"sweep": sweep, "status": "finished", **where})

    def loss(self, sweep: str, method: str, ratio: float, **where: Any) -> Interval | None:
        """Relative loss of a method against the full table, with its 95 % interval.

        Args:
            sweep: Name of the sweep.
            method: The method as in the spec.
            ratio: The ratio asked for.
            **where: Which table of the sweep, if there are several.

        Returns:
            The loss, None where it was not measured or the method cannot be that small.
        """
        return _interval(self.rows(sweep, method=method, ratio=ratio, **where))

    def against(
        self, sweep: str, method: str, other: str, ratio: float, **where: Any
    ) -> Interval | None:
        """What a method loses against another at equal bytes, with its 95 % interval.

        Args:
            sweep: Name of the sweep.
            method: The method.
            other: The other.
            ratio: The ratio asked for.
            **where: Which table of the sweep, if there are several.

        Returns:
            The loss, negative if the method is better; None where it was not measured.
        """
        keys = {"sweep": sweep, "method": method, "other": other, "ratio": ratio, **where}
        return _interval(_where(self.pairs, keys))

    def all_against(
        self, method: str, other: str, sweeps: Sequence[str]
    ) -> list[tuple[str, Interval | None]]:
        """`against` in every table of some sweeps.

        Args:
            method: The method.
            other: The other.
            sweeps: Names; those that were not made are left out.

        Returns:
            By sweep, what varies in it, and ratio; a data set stands for its sweep where there are
            several. Tables without signal are left out.
        """
        return [
            (
                " ".join([*_named(sweep, where), f"{ratio:g}×"]),
                self.against(sweep, method, other, ratio, **where),
            )
            for sweep in sweeps
            for where in self.variants(sweep)
            if self.carries_signal(sweep, **where)
            for ratio in sorted(self.rows(sweep, **where)["ratio"].dropna().unique())
        ]

    def carries_signal(self, sweep: str, **where: Any) -> bool:
        """Whether the full table of a table is clearly above all that has no table.

        Args:
            sweep: Name of the sweep.
            **where: Which table of it.

        Returns:
            False too where there are no controls. Differences between compressors mean little then.
        """
        controls = self.rows(sweep, nbytes=0, **where)
        return not controls.empty and bool((controls["loss_low"] > 0).all())

    def variants(self, sweep: str) -> list[dict[str, Any]]:
        """The tables of a sweep: what tells them apart, by column.

        Args:
            sweep: Its name.

        Returns:
            A mapping per table; an empty one if there is one table only.
        """
        rows = self.rows(sweep)
        names = [n for n in ("data", *VARIED) if n in rows and rows[n].nunique() > 1]
        if not names:
            return [{}] if len(rows) else []
        found: list[dict[str, Any]] = rows[names].drop_duplicates().to_dict("records")
        return found


def _named(sweep: str, where: dict[str, Any]) -> list[str]:
    """What to call a table of a sweep: its data set says more than the sweep's name."""
    values = [str(value) for value in where.values()]
    return values if "data" in where else [sweep, *values]


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path)
    table.insert(0, "sweep", path.parent.name)
    return table


def _summary(path: Path) -> pd.DataFrame:
    """A summary with the columns of its metric under one name for all metrics."""
    table = _read(path)
    (metric,) = (
        name
        for name in table.columns
        if name != "loss" and {f"{name}_low", f"{name}_high"} <= set(table.columns)
    )
    names = {f"{metric}{end}": f"value{end}" for end in ("", "_low", "_high")}
    table = table.rename(columns=names)
    table.insert(1, "metric", metric)
    return table


def _where(table: pd.DataFrame, wanted: dict[str, Any]) -> pd.DataFrame:
    for name, value in wanted.items():
        if name not in table:
            return table.iloc[:0]
        table = table[table[name] == value]
    return table


def _interval(rows: pd.DataFrame) -> Interval | None:
    if rows.empty or math.isnan(rows["loss"].iloc[0]):
        return None
    if len(rows) > 1:
        tables = rows[["sweep", "data"]].drop_duplicates().to_dict("records")
        raise ValueError(f"{len(rows)} rows answer, of {tables}: say which")
    return Interval(*(float(rows[f"loss{end}"].iloc[0]) for end in ("", "_low", "_high")))
