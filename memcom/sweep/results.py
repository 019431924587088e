"""Read the CSV files of finished sweeps into pandas frames.

FOLDER/summary.csv    one row per method and budget
FOLDER/pairs.csv      one row per ordered pair of methods at one budget
FOLDER/trials.csv     one row per trial, with seed, bytes, time, machine and versions

FOLDER is the folder of one sweep, or a folder with one such folder per sweep.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def read_rows(folder: Path | str) -> pd.DataFrame:
    """Read ``summary.csv`` of a sweep, or of every sweep in a folder.

    Args:
        folder: Folder of one sweep, or of several.

    Returns:
        One row per method and budget. The first column, ``sweep``, is the name of the sweep's
        folder; the others are those of the file (see ``memcom.sweep.Row``). A column that another
        sweep lacks is NaN there.

    Raises:
        FileNotFoundError: The folder holds no such file.
    """
    return _read(folder, "summary.csv")


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


def _read(folder: Path | str, name: str) -> pd.DataFrame:
    import pandas as pd

    folder = Path(folder)
    one = folder / name
    paths = [one] if one.exists() else sorted(folder.glob(f"*/{name}"))
    if not paths:
        raise FileNotFoundError(f"no {name} and no */{name} in {folder}")
    frames = [pd.read_csv(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        frame.insert(0, "sweep", path.resolve().parent.name)
    return pd.concat(frames, ignore_index=True)
