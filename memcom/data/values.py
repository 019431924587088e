"""Columns of ids, numbers and times from a file; a value that cannot be read is named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_LARGEST = float(np.finfo(np.float32).max)
_TIME = "seconds below 2^63 or a date like 2024-05-31 or 2024-05-31T12:00"


def ids(column: pd.Series, path: Path | str) -> np.ndarray:
    """Return integers where every value is written as one (so ties sort by number), else text."""
    import pandas as pd

    _refuse_missing(column, path)
    if pd.api.types.is_integer_dtype(column.dtype):
        too_large = column.to_numpy() > np.iinfo(np.int64).max
        if not too_large.any():
            return column.to_numpy(dtype=np.int64)
    text = column.astype(str)
    as_written = text.to_numpy(dtype=object)
    if not text.str.fullmatch(r"0|-?[1-9][0-9]{0,18}").all():
        return as_written
    try:
        return as_written.astype(np.int64)
    except OverflowError:
        return as_written


def numbers(column: pd.Series, path: Path | str) -> np.ndarray:
    """Return float64 numbers that float32 can hold."""
    _refuse_missing(column, path)
    values = _floats(column)
    _refuse(np.isnan(values), column, path, "a number")
    _refuse(np.abs(values) > _LARGEST, column, path, f"a number up to {_LARGEST:.2g}")
    return values


def times(column: pd.Series, path: Path | str) -> np.ndarray:
    """Return int64 seconds since 1970, from numbers or from dates; a column cannot mix the two."""
    import pandas as pd

    _refuse_missing(column, path)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _seconds(column, path)
    if not pd.api.types.is_datetime64_any_dtype(column.dtype):
        is_number = _is_number(column)
        if is_number.all():
            return _seconds(column, path)
        kind = "a number" if is_number[0] else "a date"
        _refuse(is_number != is_number[0], column, path, f"{kind} as in the rows before")
    moments = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    _refuse(moments.isna().to_numpy(), column, path, _TIME)
    return moments.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)


def _seconds(column: pd.Series, path: Path | str) -> np.ndarray:
    """Whole seconds, rounded down; integers without the detour over floats."""
    import pandas as pd

    limits = np.iinfo(np.int64)
    if pd.api.types.is_integer_dtype(column.dtype):
        whole = column.to_numpy()
        _refuse(whole > limits.max, column, path, _TIME)
        return whole.astype(np.int64)
    if not pd.api.types.is_float_dtype(column.dtype):
        text = column.astype(str).str.strip()
        if text.str.fullmatch(r"[+-]?[0-9]{1,40}").all():
            exact = np.array([int(value) for value in text], dtype=object)
            _refuse((exact < limits.min) | (exact > limits.max), column, path, _TIME)
            return exact.astype(np.int64)
    values = np.floor(_floats(column))
    _refuse(~(np.abs(values) < 2.0**63), column, path, _TIME)
    return values.astype(np.int64)


def _is_number(column: pd.Series) -> np.ndarray:
    return column.astype(str).str.strip().str.fullmatch(_NUMBER).to_numpy(dtype=bool)


def _floats(column: pd.Series) -> np.ndarray:
    """Every value as float64, NaN where it is no number."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64)
    text = column.astype(str).str.strip().where(_is_number(column), "nan")
    return text.to_numpy(dtype=object).astype(np.float64)


def _refuse_missing(column: pd.Series, path: Path | str) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"{path}: column {column.name!r} has {missing.sum():,} missing values, the first in "
            f"data row {int(np.argmax(missing)) + 1}"
        )


def _refuse(bad: np.ndarray, column: pd.Series, path: Path | str, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        value = column.iloc[row]
        shown = value if isinstance(value, str) else str(value)
        raise ValueError(
            f"{path}: column {column.name!r}, data row {row + 1}: expected {expected}, "
            f"got {shown!r}"
        )
