"""Named columns of a delimited text file (CSV, TSV), as text.

Every record must have as many fields as the header: a comma too many would move the columns after
it by one, and ids would be read from the wrong column. pyarrow reads; a record that it refuses, or
that spans several lines, is looked for again with the csv module, which knows the line.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

PACKED = (".gz", ".bz2", ".xz", ".zst")
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError)
_BLOCK = 1 << 24  # bytes; a record may be as long


def read_header(path: Path, separator: str, encoding: str) -> list[str]:
    """Return the fields of the first line that is not empty."""
    for _, fields in _records(path, separator, encoding):
        return fields
    raise ValueError(f"{path} is empty; it needs a header line")


def read_columns(
    path: Path, columns: list[str], *, separator: str, encoding: str, num_fields: int
) -> pd.DataFrame:
    """Read columns as text; an empty field is missing.

    Args:
        path: The file; with an ending of `PACKED` it is unpacked on the way.
        columns: Names in the header.
        separator: One character.
        encoding: Name of the text encoding.
        num_fields: Number of fields in the header.

    Returns:
        The columns, a row for each record.

    Raises:
        ValueError: The file is damaged, not in the encoding, or a record has another number of
            fields; the message names file and line.
    """
    import pandas as pd
    import pyarrow as pa
    from pyarrow import csv as arrow

    text = pa.string()
    stream = _Utf8(path, encoding)
    try:
        table = arrow.read_csv(
            stream,
            read_options=arrow.ReadOptions(block_size=_BLOCK),
            parse_options=arrow.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=arrow.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, text),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        if _check_records(path, separator, encoding, num_fields) > 1:
            raise ValueError(f"{path}: {error}") from error
        return pd.DataFrame(columns=columns, dtype=str)
    if stream.lines != table.num_rows + 1 or stream.quotes % 2:
        # A quote that stays open may have swallowed lines.
        _check_records(path, separator, encoding, num_fields)
    return table.to_pandas()


def _check_records(path: Path, separator: str, encoding: str, num_fields: int) -> int:
    """Return the number of records; refuse the first that has another number of fields."""
    count = 0
    for line, fields in _records(path, separator, encoding):
        count += 1
        if len(fields) != num_fields:
            raise ValueError(
                f"{path}, line {line}: {len(fields)} fields, the header has {num_fields}; a value "
                f"that contains {separator!r} has to stand in double quotes"
            )
    return count


def _records(path: Path, separator: str, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Records that are not empty, and the line where each ends."""
    with io.TextIOWrapper(io.BufferedReader(_Utf8(path, encoding)), "utf-8", newline="") as lines:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        start = 1
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
                start = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {start}: a double quote is opened and not closed as it should be "
                f"({error})"
            ) from error


class _Utf8(io.RawIOBase):
    """A text file, unpacked, as UTF-8 that ends with a line end; it counts lines and quotes."""

    def __init__(self, path: Path, encoding: str) -> None:
        self.path, self.encoding = path, encoding
        self.lines = self.quotes = 0
        utf8 = codecs.lookup(encoding).name == "utf-8"
        self._decoder = codecs.getincrementaldecoder("utf-8-sig" if utf8 else encoding)()
        self._file = _unpacked(path)
        self._rest = b""
        self._ended = False
        self._complete = True  # the text so far ends with a line end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            self._rest = self._next(len(buffer))
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _next(self, size: int) -> bytes:
        try:
            block = self._file.read(size)
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.path} is damaged or cut short ({reason})") from error
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeError as error:
            raise ValueError(self._misread(error)) from error
        self._ended = not block
        if self._ended and not self._complete:
            text += "\n"
        if text:
            self._complete = text.endswith("\n")
        self.lines += text.count("\n")
        self.quotes += text.count('"')
        return text.encode()

    def _misread(self, error: UnicodeError) -> str:
        line, found = self.lines + 1, ""
        if isinstance(error, UnicodeDecodeError):
            before = error.object[: error.start].decode(error.encoding, "ignore")
            line += before.count("\n")
            found = f" (byte 0x{error.object[error.start]:02x})"
        likely = "utf-16" if self._starts_as_utf16() else "latin-1"
        return (
            f"{self.path}, line {line}: no {self.encoding} text{found}; name its encoding, such as "
            f"encoding={likely!r} (on the command line --encoding {likely})"
        )

    def _starts_as_utf16(self) -> bool:
        with _unpacked(self.path) as file:
            return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _unpacked(path: Path) -> Any:
    """The file, open for reading bytes; unpacked if it has an ending of `PACKED`."""
    ending = path.suffix.lower()
    if ending == ".zst":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return openers.get(ending, io.FileIO)(path)
