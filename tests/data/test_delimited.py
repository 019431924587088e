"""Delimited text against the csv module, and every way such a file can be broken."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcom import data

COLUMNS = {"user_col": "user", "item_col": "item", "time_col": "time"}
HEADER = "user,item,time\n"
ROWS = [f"u{row % 40},i{row},{1_600_000_000 + row}" for row in range(400)]
PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def written(tmp_path, content: str | bytes, name: str = "own.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def triples(path, **options):
    loaded = data.load(path, **COLUMNS, **options)
    users, items = loaded.user_names[loaded.user], loaded.item_names[loaded.item]
    return sorted(zip(users, items, loaded.time.tolist(), strict=True))


def expected(rows=ROWS):
    split = (row.split(",") for row in rows)
    return sorted((user, item, int(time)) for user, item, time in split)


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([row + "," for row in ROWS], 2),
        ([ROWS[0].replace("i0", "i,0"), *ROWS[1:]], 2),
        ([*ROWS[:200], ROWS[200] + ",x", *ROWS[201:]], 202),
        ([*ROWS[:200], "u1,i1", *ROWS[201:]], 202),
        ([*ROWS[:399], "u1,i1,1,"], 401),
        ([*ROWS[:10], "", "   ", *ROWS[10:]], 13),
    ],
    ids=["trailing", "first-row", "later", "too-few", "last", "spaces"],
)
def test_another_number_of_fields_is_refused_with_its_line(tmp_path, separator, rows, line):
    text = (HEADER + "\n".join(rows) + "\n").replace(",", separator)
    path = written(tmp_path, text, {",": "own.csv", "\t": "own.tsv"}[separator])
    for columns in (COLUMNS, {"user_col": "user", "item_col": "item"}):
        with pytest.raises(ValueError, match=rf"{path.name}, line {line}: \d fields.* 3"):
            data.load(path, **columns)


def test_a_column_of_every_row_too_many_with_a_name_is_fine(tmp_path):
    text = "user,item,time,\n" + "".join(f"{row},\n" for row in ROWS)
    assert triples(written(tmp_path, text)) == expected()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_two_columns_of_one_name_are_refused(tmp_path, suffix):
    path = written(tmp_path, "user,item,item\na,b,c\n", f"own.{suffix}")
    if suffix == "tsv":
        path.write_text(path.read_text().replace(",", "\t"))
    if suffix == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])]
        pq.write_table(pa.Table.from_arrays(columns, names=["user", "item", "item"]), path)
    with pytest.raises(ValueError, match=r"own.*'item' 2 times"):
        data.load(path, user_col="user", item_col="item")


@pytest.mark.parametrize("place", [0, 200, 399])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_quote_that_stays_open_swallows_no_line(tmp_path, place, column):
    fields = ROWS[place].split(",")
    fields[column] = '"' + fields[column]
    rows = [*ROWS[:place], ",".join(fields), *ROWS[place + 1 :]]
    with pytest.raises(ValueError, match=rf"own\.csv, line {place + 2}: a double quote"):
        triples(written(tmp_path, HEADER + "\n".join(rows) + "\n"))


def test_a_quote_that_is_closed_by_a_later_one_is_noticed(tmp_path):
    rows = list(ROWS)
    rows[3], rows[9] = 'u3,i3,"5', 'u9,"i9",7'
    with pytest.raises(ValueError, match="line 5: a double quote"):
        triples(written(tmp_path, HEADER + "\n".join(rows) + "\n"))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_ends_of_lines_and_empty_lines(tmp_path, ending, last):
    lines = [HEADER.strip(), *ROWS[:3], "", *ROWS[3:]]
    text = ending.join(lines) + (ending if last else "")
    assert triples(written(tmp_path, text)) == expected()


def test_quoted_separators_quotes_and_line_ends_are_part_of_a_value(tmp_path):
    text = 'user,item,time\n"a,b","say ""x""\nand y",5\nc,d,6\n'
    assert triples(written(tmp_path, text)) == [("a,b", 'say "x"\nand y', 5), ("c", "d", 6)]


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_packed_files_whole_cut_short_and_damaged(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    text = (HEADER + "\n".join(ROWS) + "\n").encode()
    zst = lambda content: pa.compress(content, codec="zstd", asbytes=True)  # noqa: E731
    packed = PACKERS.get(kind, zst)(text)
    assert triples(written(tmp_path, packed, f"own.csv.{kind}")) == expected()
    for broken in (packed[: len(packed) // 2], packed[:-3], b"no archive at all", b"\x1f"):
        with pytest.raises(ValueError, match=rf"own\.csv\.{kind} is (damaged|empty)"):
            triples(written(tmp_path, broken, f"own.csv.{kind}"))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8"])
@pytest.mark.parametrize("place", ["header", "body"])
def test_an_encoding_is_named_and_can_be_given(tmp_path, encoding, place):
    rows = list(ROWS)
    if place == "body":
        rows[7] = "ü,é,7"
    text = HEADER.replace("\n", ",naïve\n" if place == "header" else "\n")
    text += "\n".join(row + (",x" if place == "header" else "") for row in rows)
    path = written(tmp_path, text.encode(encoding))
    assert triples(path, encoding=encoding) == expected(rows)
    if encoding in ("latin-1", "cp1252"):
        line = 1 if place == "header" else 9
        with pytest.raises(ValueError, match=rf"own\.csv, line {line}: .*encoding='latin-1'"):
            triples(path)
    elif encoding == "utf-16":
        with pytest.raises(ValueError, match=r"own\.csv, line 1: .*encoding='utf-16'"):
            triples(path)
    elif encoding == "utf-16-le":
        with pytest.raises(ValueError, match=r"own\.csv"):
            triples(path)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    text = "\ufeff" + HEADER + "\n".join(ROWS)
    assert triples(written(tmp_path, text)) == expected()


@pytest.mark.parametrize("name", ["own.csv", "own.txt"])
@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_another_separator_is_suggested_and_can_be_given(tmp_path, name, separator):
    text = (HEADER + "\n".join(ROWS)).replace(",", separator)
    path = written(tmp_path, text, name)
    with pytest.raises(ValueError, match=r"own.*separator.*--separator"):
        triples(path)
    assert triples(path, separator=separator) == expected()


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"separator": "ab"}, ValueError, "separator .*'ab'"),
        ({"separator": ""}, ValueError, "separator .*''"),
        ({"separator": '"'}, ValueError, "separator"),
        ({"separator": 3}, TypeError, "separator .*3"),
        ({"encoding": "klingon"}, ValueError, "encoding 'klingon'"),
        ({"encoding": "rot13"}, ValueError, "encoding 'rot13'"),
        ({"encoding": 8}, TypeError, "encoding .*8"),
        ({"user_col": 3}, TypeError, "user_col .*3"),
        ({"label_col": "time", "field_cols": "item"}, TypeError, "field_cols .*'item'"),
        ({"label_col": "time", "dense_cols": [1]}, TypeError, "dense_cols .*1"),
    ],
)
def test_senseless_options_are_named(tmp_path, options, error, named):
    path = written(tmp_path, HEADER + "\n".join(ROWS))
    with pytest.raises(error, match=named):
        data.load(path, **{"user_col": "user", "item_col": "item"} | options)


def test_an_empty_file_is_named(tmp_path):
    for content in ("", "\n\n"):
        with pytest.raises(ValueError, match=r"own\.csv is empty"):
            triples(written(tmp_path, content))
    with pytest.raises(ValueError, match=r"own\.csv: no row is left"):
        triples(written(tmp_path, HEADER.strip()))


ANY_LINE = st.text(alphabet='abc01,"\n \r;', max_size=12)


@given(st.lists(ANY_LINE, max_size=6))
def test_any_text_is_read_as_the_csv_module_reads_it_or_refused(tmp_path_factory, lines):
    text = "user,item\n" + "\n".join(lines)
    path = written(tmp_path_factory.mktemp("any"), text)
    try:
        loaded = data.load(path, user_col="user", item_col="item")
    except ValueError as error:
        assert str(path) in str(error) or path.name in str(error)  # noqa: PT017
        return
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row][1:]
    pairs = {(user, item) for user, item in rows}
    assert (
        set(zip(loaded.user_names[loaded.user], loaded.item_names[loaded.item], strict=True))
        == pairs
    )
