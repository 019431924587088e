"""Your own data: a CSV, TSV or Parquet file with named columns, or a table in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from memcom._check import did_you_mean
from memcom.data.assemble import interactions, labelled_rows
from memcom.data.containers import Interactions, LabelledRows
from memcom.data.delimited import PACKED, read_columns, read_header
from memcom.data.frames import ITEM, USER, is_table, read_pairs, read_table
from memcom.data.ordering import encode, split_rows
from memcom.data.values import ids, numbers, times

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET = (".parquet", ".pq")


def is_file_name(name: str | Path) -> bool:
    """Return whether a name is a path object, has a data file's ending, or exists as a file."""
    return isinstance(name, Path) or _ending(Path(name)) is not None or Path(name).is_file()


def load_file(
    path: Any,
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
    encoding: str = "utf-8",
) -> Interactions | LabelledRows:
    """Load interactions (user and item columns) or, with a label column, labelled rows.

    Ids may be numbers or text and are compared as written: "007" is not "7". Interactions are
    built as `memcom.data.assemble` says (a pair once, split by time or at random). Labelled rows
    keep every row; they are split at two moments of time (70 / 10 / 20 per cent), or at random.

    Args:
        path: ``.csv``, ``.tsv`` (``.gz``, ``.bz2``, ``.xz``, ``.zst`` after it are fine) or
            ``.parquet``. Text files need a header line. Or a table of pandas, Polars or Arrow; or
            pairs without names of columns: an array ``(rows, 2)``, two arrays ``(users, items)``,
            an iterable of pairs.
        user_col: Column of the users; needed without `label_col`, but for pairs.
        item_col: Column of the items; needed without `label_col`, but for pairs.
        time_col: Column of the times: numbers (seconds since 1970) or dates.
        rating_col: Column of numbers (ratings, counts); without `label_col` only.
        label_col: Column of the classes; gives `LabelledRows`.
        field_cols: Further categorical columns, with `label_col` only.
        dense_cols: Numeric columns, with `label_col` only.
        split: "time" or "random"; None takes time where there is a time column.
        seed: Seed of the random split.
        min_rating: Drop rows rated lower.
        separator: Character between the fields of a text file; None takes that of its ending.
        encoding: Encoding of a text file, such as "latin-1" or "utf-16".

    Returns:
        `Interactions`, or `LabelledRows` with the users and items as first fields.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the ending is unknown, a column is missing (the message names it and lists
            those there are) or there twice, a line has more or fewer fields than the header (it
            names the line), a value is missing or cannot be read (it names column and row).
        TypeError: If a column's name is no string, or ``path`` nothing of the kinds above.
    """
    source, name = _source(path)
    if isinstance(source, Path):
        if not source.is_file():
            raise FileNotFoundError(f"there is no file {source}")
    elif separator is not None or encoding != "utf-8":
        raise ValueError(f"separator and encoding are of text files, not of {name}")
    elif not is_table(path):
        user_col, item_col = user_col or USER, item_col or ITEM
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
    if isinstance(source, Path):
        frame = _read(source, roles, separator, encoding)
    else:
        _check_columns(name, roles, list(source.columns))
        frame = source[list(dict.fromkeys(column for _, column in roles))].reset_index(drop=True)

    where = path if isinstance(source, Path) else name
    time = None if time_col is None else times(frame[time_col], where)
    if label_col is None:
        return interactions(
            name,
            ids(frame[user_col], where),
            ids(frame[item_col], where),
            time=time,
            rating=None if rating_col is None else numbers(frame[rating_col], where),
            split=split,
            seed=seed,
            min_rating=min_rating,
        )
    mode = split or ("random" if time is None else "time")
    if mode not in ("time", "random") or (mode == "time" and time is None):
        possible = "random" if time is None else "time, random"
        raise ValueError(f"{name} cannot be split by {mode!r}; it can by {possible}")
    parts = split_rows(time if mode == "time" else None, len(frame), seed)
    label, classes = encode(ids(frame[label_col], where))
    fields = [column for column in (user_col, item_col, *field_cols) if column is not None]
    dense = [numbers(frame[column], where) for column in dense_cols]
    return labelled_rows(
        name,
        {column: ids(frame[column], where) for column in fields},
        label,
        tuple(str(each) for each in classes),
        parts,
        dense=np.stack(dense, axis=1) if dense else None,
        dense_names=tuple(dense_cols),
        notes=f"Split: {mode}.",
    )


def _source(given: Any) -> tuple[Path | pd.DataFrame, str]:
    """A path, or the table in memory, and its name."""
    if isinstance(given, str | Path):
        return Path(given), Path(given).name
    if is_table(given):
        return read_table(given), type(given).__name__
    return read_pairs(given), "pairs"


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
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    known = (*_SEPARATORS, *_PARQUET)
    return suffixes[-1] if suffixes and suffixes[-1] in known else None


def _read(
    path: Path, roles: list[tuple[str, str]], separator: str | None, encoding: str
) -> pd.DataFrame:
    """Only the named columns; those of a text file as text."""
    ending = _ending(path)
    columns = list(dict.fromkeys(column for _, column in roles))
    if ending in _PARQUET:
        return _read_parquet(path, roles, columns)
    separator = _SEPARATORS.get(ending or "") if separator is None else separator
    if separator is None:
        known = ", ".join((*_SEPARATORS, *_PARQUET))
        raise ValueError(
            f"{path}: the ending must be one of {known}; or give separator= (on the command line "
            "--separator)"
        )
    _check_format(separator, encoding)
    header = read_header(path, separator, encoding)
    _check_columns(path, roles, header)
    return read_columns(
        path, columns, separator=separator, encoding=encoding, num_fields=len(header)
    )


def _check_format(separator: str, encoding: str) -> None:
    if len(separator) != 1 or separator in '"\r\n\0' or not separator.isascii():
        raise ValueError(f"separator must be one ASCII character, no quote, got {separator!r}")
    try:
        " ".encode(encoding)
    except (LookupError, ValueError):
        raise ValueError(f"encoding {encoding!r} is no text encoding that Python knows") from None


def _read_parquet(path: Path, roles: list[tuple[str, str]], columns: list[str]) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        indices = (schema.pandas_metadata or {}).get("index_columns", [])
        # pandas keeps an index as a column, or, if it is evenly spaced, as three numbers.
        ranges = {each["name"]: each for each in indices if isinstance(each, dict)}
        names = [*schema.names, *(name for name in ranges if name is not None)]
        _check_columns(path, roles, names)
        stored = [column for column in columns if column not in ranges]
        table = pq.read_table(path, columns=stored, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is no Parquet file or is damaged: {error}") from error
    frame = table.to_pandas(ignore_metadata=True)
    for name in set(columns) & set(ranges):
        frame[name] = np.arange(*(ranges[name][edge] for edge in ("start", "stop", "step")))
    return frame


def _check_columns(path: Path | str, roles: list[tuple[str, str]], there: list[str]) -> None:
    twice = next((column for column in there if there.count(column) > 1), None)
    if twice is not None:
        raise ValueError(f"{path} has the column {twice!r} {there.count(twice)} times")
    for role, column in roles:
        if column not in there:
            hint = did_you_mean(column, there)
            if len(there) == 1 and (other := next((s for s in ";\t|," if s in there[0]), None)):
                hint = f"; it may be separated by {other!r}: separator={other!r} (--separator)"
            listed = ", ".join(repr(each) for each in there)
            raise ValueError(f"{path} has no column {column!r} ({role}); it has {listed}{hint}")
