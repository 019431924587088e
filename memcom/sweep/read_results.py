"""Read the CSV files of finished sweeps into pandas frames.

FOLDER/summary.csv    one row per method and budget
FOLDER/pairs.csv      one row per ordered pair of methods at one budget
FOLDER/trials.csv     one row per trial, with seed, bytes, time, machine and versions

FOLDER is the folder of one sweep, or a folder with one such folder per sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from memcom._extras import require

if TYPE_CHECKING:
    import pandas as pd


def read_rows(folder: Path | str) -> pd.DataFrame:
    """Read ``summary.csv`` of a sweep, or of every sweep in a folder.

    Args:
        folder: Folder of one sweep, or of several.

    Returns:
        One row per method and budget. The first column, ``sweep``, is the name of the sweep's
        folder; the others are those of the file (see ``memcom.sweep.Row``). Added are ``table``,
        the sweep and what varies in it (``"clicks-criteo, model dlrm"``), and the metric under
        one name for all: ``metric``, ``value``, ``value_low`` and ``value_high``. A column
        that another sweep lacks is NaN there.

    Raises:
        FileNotFoundError: The folder holds no such file.
    """
    return _read(folder, "summary.csv", _add_table, _add_value)


def read_pairs(folder: Path | str) -> pd.DataFrame:
    """Read ``pairs.csv`` of a sweep, or of every sweep in a folder that has one.

    Args:
        folder: Folder of one sweep, or of several.

    Returns:
        One row per ordered pair of methods at one budget: ``sweep``, ``data``, ``task``, the
        options that vary, ``method``, ``other``, ``ratio``, ``budget``, and the relative ``loss``
        of the first against the other (positive is worse) with its 95 % interval ``loss_low`` to
        ``loss_high``.

    Raises:
        FileNotFoundError: The folder holds no such file.
    """
    return _read(folder, "pairs.csv")


def read_trials(folder: Path | str) -> pd.DataFrame:
    """Read ``trials.csv`` of a sweep, or of every sweep in a folder that has one.

    Args:
        folder: Folder of one sweep, or of several.

    Returns:
        One row per trial, failed ones too: ``sweep``, the trial, its status, seconds, key,
        versions and machine, stored bytes and test metrics.

    Raises:
        FileNotFoundError: The folder holds no such file.
    """
    return _read(folder, "trials.csv")


def _add_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the column ``table``: the sweep, its data set if it has several, and what varies."""
    columns = list(frame.columns)
    if "task" not in columns:
        return frame
    names = columns[columns.index("task") + 1 : columns.index("method")]
    if frame["data"].nunique() > 1:
        names.insert(0, "data")
    parts = [f"{name} " + frame[name].map("{}".format) for name in names]
    return frame.assign(table=[", ".join(row) for row in zip(frame["sweep"], *parts, strict=True)])


def _add_value(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the metric, which is the score that has an interval, as ``value...`` and ``metric``."""
    columns = set(frame.columns)
    for metric in columns - {"loss"}:
        if {f"{metric}_low", f"{metric}_high"} <= columns:
            ends = {f"value{end}": frame[f"{metric}{end}"] for end in ("", "_low", "_high")}
            return frame.assign(metric=metric, **ends)
    return frame


def _read(
    folder: Path | str, name: str, *add: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    require("reading results", "pandas")
    import pandas as pd

    folder = Path(folder)
    one = folder / name
    paths = [one] if one.exists() else sorted(folder.glob(f"*/{name}"))
    if not paths:
        raise FileNotFoundError(f"no {name} and no */{name} in {folder}")
    frames = []
    for path in paths:
        frame = pd.read_csv(path)
        frame.insert(0, "sweep", path.resolve().parent.name)
        for each in add:
            frame = each(frame)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
