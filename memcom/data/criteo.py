"""The Criteo display advertising format (Kaggle 2014), streamed and checked line by line.

A line has 40 tab separated columns without header: the label (clicked or not), 13 integers that
may be empty or negative, 26 categorical values of 8 hexadecimal digits that may be empty. The
parser works on the bytes of a block at once, so no value is ever a Python object.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from memcom._check import whole
from memcom.data.assemble import labelled_rows
from memcom.data.containers import LabelledRows
from memcom.data.obtain import obtain
from memcom.data.ordering import split_at_times

NUM_DENSE, NUM_CATEGORICAL, NUM_COLUMNS = 13, 26, 40
MISSING = -1
_CHUNK = 16 << 20  # bytes of text
_TAB, _LINE, _RETURN, _MINUS = 9, 10, 13, 45
_NOT_HEX = 255
_HEX = np.full(256, _NOT_HEX, dtype=np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)
_HEX[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = np.arange(10, 16)


@dataclass(frozen=True)
class CriteoRows:
    """Consecutive rows of the file.

    Attributes:
        label: (n,) int64, 1 for a click.
        dense: (n, 13) float32, log(1 + count); missing and negative counts are 0.
        categorical: (n, 26) int64 in 0..2^32-1, or -1 where missing.
    """

    label: np.ndarray
    dense: np.ndarray
    categorical: np.ndarray


def parse_rows(block: bytes, *, source: str = "text", first_line: int = 1) -> CriteoRows:
    """Parse whole lines, the last one with or without its line end.

    The first line that is not of the format is a ValueError that names `source`, line, column and
    content; `first_line` is the number of the block's first line.
    """
    if block and not block.endswith(b"\n"):
        block += b"\n"
    data = np.frombuffer(block.replace(b"\r\n", b"\n"), dtype=np.uint8)
    stops = np.flatnonzero((data == _TAB) | (data == _LINE))
    columns = np.diff(np.flatnonzero(data[stops] == _LINE), prepend=-1)
    if (columns != NUM_COLUMNS).any():
        row = int(np.argmax(columns != NUM_COLUMNS))
        hint = " (Kaggle's test.txt has no label; use train.txt)" if columns[row] == 39 else ""
        raise ValueError(
            f"{source}, line {first_line + row}: {columns[row]} tab separated columns, "
            f"expected {NUM_COLUMNS}{hint}"
        )
    ends = stops.reshape(-1, NUM_COLUMNS)
    starts = np.r_[0, stops[:-1] + 1][: len(stops)].reshape(-1, NUM_COLUMNS)
    # Reading one byte past a field is harmless, past the end of the data it is not.
    padded = np.r_[data, np.zeros(8, np.uint8)]

    def refuse(bad: np.ndarray, column: int, what: str) -> None:
        if bad.any():
            row, offset = (int(index) for index in np.argwhere(bad)[0])
            at = row, column + offset
            content = data[starts[at] : ends[at]].tobytes().decode("latin-1")
            raise ValueError(
                f"{source}, line {first_line + row}, column {column + offset + 1}: "
                f"expected {what}, got {content[:40]!r}"
            )

    label = padded[starts[:, :1]].astype(np.int64) - ord("0")
    one_digit = ends[:, :1] - starts[:, :1] == 1
    refuse(~one_digit | ((label != 0) & (label != 1)), 0, "a label 0 or 1")

    start, length = starts[:, 1:14], ends[:, 1:14] - starts[:, 1:14]
    negative = (length > 0) & (padded[start] == _MINUS)
    start, digits = start + negative, length - negative
    refuse((digits > 18) | (negative & (digits == 0)), 1, "an integer or nothing")
    count = np.zeros(start.shape, dtype=np.int64)
    for place in range(int(digits.max(initial=0))):
        inside = place < digits
        digit = padded[np.where(inside, start + place, 0)].astype(np.int64) - ord("0")
        refuse(inside & ((digit < 0) | (digit > 9)), 1, "an integer or nothing")
        count = np.where(inside, count * 10 + digit, count)

    start, length = starts[:, 14:], ends[:, 14:] - starts[:, 14:]
    present = length == 8
    refuse(~present & (length != 0), 14, "8 hexadecimal digits or nothing")
    value = np.zeros(start.shape, dtype=np.int64)
    for place in range(8):
        digit = _HEX[padded[start + place]]
        refuse(present & (digit == _NOT_HEX), 14, "8 hexadecimal digits or nothing")
        value = value << 4 | digit
    return CriteoRows(
        label=label[:, 0],
        dense=np.log1p(np.where(negative, 0, count)).astype(np.float32),
        categorical=np.where(present, value, MISSING),
    )


def iter_rows(
    path: str | Path, *, chunk_bytes: int = _CHUNK, max_rows: int | None = None
) -> Iterator[CriteoRows]:
    """Stream a file of any size in chunks; memory stays near 15 times `chunk_bytes`.

    Args:
        path: The file, unpacked.
        chunk_bytes: Bytes of text to read at once, about (a row has about 240).
        max_rows: Stop after this many rows; None reads all.

    Yields:
        Consecutive rows, in the order of the file.

    Raises:
        ValueError: At the first line that is not of the format, or if max_rows is below 1.
    """
    with Path(path).open("rb") as file:
        yield from _chunks(file, str(path), chunk_bytes, max_rows)


def _chunks(
    file: BinaryIO, source: str, chunk_bytes: int, max_rows: int | None
) -> Iterator[CriteoRows]:
    if max_rows is not None:
        whole("max_rows", max_rows, 1)
    line, rest = 1, b""
    while max_rows is None or line <= max_rows:
        text = file.read(chunk_bytes)
        lines, end, rest = (rest + text).rpartition(b"\n") if text else (rest, b"", b"")
        if lines or end:
            if max_rows is not None and lines.count(b"\n") >= max_rows + 1 - line:
                lines = b"\n".join(lines.split(b"\n", max_rows + 1 - line)[:-1])
            chunk = parse_rows(lines + end, source=source, first_line=line)
            line += len(chunk.label)
            yield chunk
        if not text:
            return


def load_criteo(*, path: str | Path | None = None, max_rows: int | None = None) -> LabelledRows:
    """Load Criteo's training file: clicks, 26 fields ``C1``..``C26``, 13 dense ``I1``..``I13``.

    The rows are chronological, so the split is by position: the first 70 % train, 10 %
    validation, the last 20 % test. A missing value is an id, named "". Loading takes
    about 0.7 kB of memory a row (over 30 GB for all 45,840,617 rows); use `max_rows`, or
    `iter_rows` to stream.

    Args:
        path: File in this format; None takes ``train.txt`` in MEMCOM_DATA/criteo.
        max_rows: Read only this many rows, the first.

    Returns:
        The rows, in the order of the file.
    """
    if path is None:
        path = obtain("criteo").paths["train.txt"]
    return _assemble("criteo", list(iter_rows(path, max_rows=max_rows)), path)


def load_criteo_10k(*, max_rows: int | None = None) -> LabelledRows:
    """Load a sample of 10,000 rows of `load_criteo`, for tests; too small for a believable AUC.

    Args:
        max_rows: Read only this many rows, the first.

    Returns:
        The rows, in the order of the file.
    """
    obtained = obtain("criteo-10k")
    (path,) = obtained.paths.values()
    file = io.BytesIO(obtained.read())
    return _assemble("criteo-10k", list(_chunks(file, str(path), _CHUNK, max_rows)), path)


def _assemble(name: str, chunks: list[CriteoRows], path: str | Path) -> LabelledRows:
    if not chunks:
        raise ValueError(f"{path} is empty")
    label = np.concatenate([chunk.label for chunk in chunks])
    columns = {
        f"C{column + 1}": np.concatenate([chunk.categorical[:, column] for chunk in chunks])
        for column in range(NUM_CATEGORICAL)
    }
    dense = np.concatenate([chunk.dense for chunk in chunks])
    chunks.clear()
    loaded = labelled_rows(
        name,
        columns,
        label,
        ("no click", "click"),
        split_at_times(np.arange(len(label))),
        dense=dense,
        dense_names=tuple(f"I{column + 1}" for column in range(NUM_DENSE)),
        notes="Split: by position, the rows are chronological.",
    )
    for column, values in loaded.names.items():
        hexadecimal = ["" if value == str(MISSING) else f"{int(value):08x}" for value in values]
        loaded.names[column] = np.array(hexadecimal, dtype=object)
    return loaded
