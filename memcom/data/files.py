"""Your own data: a CSV, TSV or Parquet file with named columns."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from memcom.data.assemble import interactions, labelled_rows
from memcom.data.containers import Interactions, LabelledRows
from memcom.data.ordering import encode, split_rows

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET = (".parquet", ".pq")
_PACKED = (".gz", ".bz2", ".xz", ".zst")


def is_file_name(name: str | Path) -> bool:
    """Return whether a name is a path object, has a data file's ending, or exists as a file."""
    return isinstance(name, Path) or _ending(Path(name)) is not None or Path(name).is_file()


def load_file(
    path: str | Path,
    *,
    user_col: str | None = None,
    item_col: str | None = None,
    time_col: str | None = None,
    rating_col: str | None = None,
    label_col: str | None = None,
    field_cols: Sequence[str] = (),
    dense_cols: Sequence[str] = (),
    split: str | None = None,
    seed: int = 0,
    min_rating: float | None = None,
    separator: str | None = None,
) -> Interactions | LabelledRows:
    """Load interactions (user and item columns) or, with a label column, labelled rows.

    Ids may be numbers or text and are compared as written: "007" is not "7". Interactions are
    built as `memcom.data.assemble` says (a pair once, split by time or at random). Labelled rows
    keep every row; they are split at two moments of time (70 / 10 / 20 per cent), or at random.

    Args:
        path: ``.csv``, ``.tsv`` (``.gz``, ``.bz2``, ``.xz``, ``.zst`` after it are fine) or
            ``.parquet``. Text files need a header line.
        user_col: Column of the users; needed without `label_col`.
        item_col: Column of the items; needed without `label_col`.
        time_col: Column of the times: numbers (seconds since 1970) or dates.
        rating_col: Column of numbers (ratings, counts); without `label_col` only.
        label_col: Column of the classes; gives `LabelledRows`.
        field_cols: Further categorical columns, with `label_col` only.
        dense_cols: Numeric columns, with `label_col` only.
        split: "time" or "random"; None takes time where there is a time column.
        seed: Seed of the random split.
        min_rating: Drop rows rated lower.
        separator: Separator of a text file with another ending.

    Returns:
        `Interactions`, or `LabelledRows` with the users and items as first fields.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the ending is unknown, a column is missing (the message names it and lists
            those there are), a value is missing or cannot be read (it names column and row).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    named = {
        "user_col": user_col,
        "item_col": item_col,
        "time_col": time_col,
        "rating_col": rating_col,
        "label_col": label_col,
    }
    _check_combination(named, field_cols, dense_cols, min_rating)
    roles = [(role, column) for role, column in named.items() if column is not None]
    roles += [("field_cols", column) for column in field_cols]
    roles += [("dense_cols", column) for column in dense_cols]
    exact = {user_col, item_col, label_col, *field_cols}
    frame = _read(path, roles, exact, separator)

    time = None if time_col is None else _times(frame[time_col], path)
    name = path.name
    if label_col is None:
        return interactions(
            name,
            _ids(frame[user_col], path),
            _ids(frame[item_col], path),
            time=time,
            rating=None if rating_col is None else _numbers(frame[rating_col], path),
            split=split,
            seed=seed,
            min_rating=min_rating,
        )
    mode = split or ("random" if time is None else "time")
    if mode not in ("time", "random") or (mode == "time" and time is None):
        possible = "random" if time is None else "time, random"
        raise ValueError(f"{name} cannot be split by {mode!r}; it can by {possible}")
    parts = split_rows(time if mode == "time" else None, len(frame), seed)
    label, classes = encode(_ids(frame[label_col], path))
    fields = [column for column in (user_col, item_col, *field_cols) if column is not None]
    dense = [_numbers(frame[column], path) for column in dense_cols]
    return labelled_rows(
        name,
        {column: _ids(frame[column], path) for column in fields},
        label,
        tuple(str(each) for each in classes),
        parts,
        dense=np.stack(dense, axis=1) if dense else None,
        dense_names=tuple(dense_cols),
        notes=f"Split: {mode}.",
    )


def _check_combination(
    named: dict[str, str | None],
    field_cols: Sequence[str],
    dense_cols: Sequence[str],
    min_rating: float | None,
) -> None:
    if named["label_col"] is None:
        for role in ("user_col", "item_col"):
            if named[role] is None:
                raise ValueError(f"{role} is needed: the name of the column (or give label_col)")
        if field_cols or dense_cols:
            raise ValueError("field_cols and dense_cols need label_col")
    else:
        if named["rating_col"] is not None or min_rating is not None:
            raise ValueError("rating_col and min_rating do not go with label_col")
        if not (named["user_col"] or named["item_col"] or field_cols):
            raise ValueError("label_col needs at least one of user_col, item_col, field_cols")


def _ending(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    known = (*_SEPARATORS, *_PARQUET)
    return suffixes[-1] if suffixes and suffixes[-1] in known else None


def _read(
    path: Path, roles: list[tuple[str, str]], exact: set[str | None], separator: str | None
) -> pd.DataFrame:
    """Only the named columns; the `exact` ones as written, not guessed into numbers."""
    import pandas as pd

    ending = _ending(path)
    columns = list(dict.fromkeys(column for _, column in roles))
    if ending in _PARQUET:
        import pyarrow.parquet as pq

        _check_columns(path, roles, pq.read_schema(path).names)
        return pd.read_parquet(path, columns=columns)
    separator = separator or _SEPARATORS.get(ending or "")
    if separator is None:
        known = ", ".join((*_SEPARATORS, *_PARQUET))
        raise ValueError(f"{path}: the ending must be one of {known}; or give separator=")
    header = pd.read_csv(path, sep=separator, nrows=0)
    _check_columns(path, roles, list(header.columns))
    return pd.read_csv(
        path,
        sep=separator,
        usecols=columns,
        dtype={column: str for column in columns if column in exact},
        keep_default_na=False,
        na_values=[""],
    )


def _check_columns(path: Path, roles: list[tuple[str, str]], there: list[str]) -> None:
    for role, column in roles:
        if column not in there:
            close = difflib.get_close_matches(column, there, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            listed = ", ".join(repr(each) for each in there)
            raise ValueError(f"{path} has no column {column!r} ({role}); it has {listed}{hint}")


def _refuse_missing(column: pd.Series, path: Path) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"{path}: column {column.name!r} has {missing.sum():,} missing values, the first in "
            f"data row {int(np.argmax(missing)) + 1}"
        )


def _ids(column: pd.Series, path: Path) -> np.ndarray:
    """Integers where every value is written as one (so ties sort by number), else text."""
    import pandas as pd

    _refuse_missing(column, path)
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy(dtype=np.int64)
    text = column.astype(str)
    if text.str.fullmatch(r"0|-?[1-9][0-9]{0,17}").all():
        return text.astype(np.int64).to_numpy()
    return text.to_numpy(dtype=object)


def _numbers(column: pd.Series, path: Path) -> np.ndarray:
    import pandas as pd

    _refuse_missing(column, path)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    _refuse_bad(~np.isfinite(numbers), column, path, "a number")
    return numbers


def _times(column: pd.Series, path: Path) -> np.ndarray:
    import pandas as pd

    _refuse_missing(column, path)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return np.floor(_numbers(column, path)).astype(np.int64)
    moments = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    expected = "seconds or a date like 2024-05-31 or 2024-05-31T12:00"
    _refuse_bad(moments.isna().to_numpy(), column, path, expected)
    return moments.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)


def _refuse_bad(bad: np.ndarray, column: pd.Series, path: Path, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{path}: column {column.name!r}, data row {row + 1}: expected {expected}, "
            f"got {column.iloc[row]!r}"
        )
