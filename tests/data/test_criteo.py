from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcom import data
from memcom.data.criteo import MISSING, iter_rows, parse_rows
from memcom.data.registry import data_root

LINE = st.tuples(
    st.sampled_from(["0", "1"]),
    st.lists(st.one_of(st.just(""), st.integers(-3, 10**9).map(str)), min_size=13, max_size=13),
    st.lists(
        st.one_of(st.just(""), st.integers(0, 2**32 - 1).map("{:08x}".format)),
        min_size=26,
        max_size=26,
    ),
)


def join(label: str, counts: list[str], values: list[str]) -> str:
    return "\t".join([label, *counts, *values])


def good_line(**changes: str) -> str:
    columns = ["1", *["7"] * 13, *["0000ffff"] * 26]
    for column, text in changes.items():
        columns[int(column[1:]) - 1] = text
    return "\t".join(columns)


@given(st.lists(LINE, min_size=1, max_size=20), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_parse_rows_agrees_with_splitting_by_hand(lines, end, last_end):
    text = end.join(join(*line) for line in lines) + (end if last_end else "")
    parsed = parse_rows(text.encode())
    assert parsed.label.tolist() == [int(label) for label, *_ in lines]
    expected = [
        [math.log1p(max(int(count), 0)) if count else 0.0 for count in counts]
        for _, counts, _ in lines
    ]
    assert parsed.dense == pytest.approx(np.array(expected), rel=1e-6)
    values = [[int(value, 16) if value else MISSING for value in row] for *_, row in lines]
    assert parsed.categorical.tolist() == values


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (good_line(c1="2"), "line 2, column 1: expected a label 0 or 1, got '2'"),
        (good_line(c1=""), "column 1: expected a label"),
        (good_line(c5="x1"), "column 5: expected an integer or nothing, got 'x1'"),
        (good_line(c14="-"), "column 14: expected an integer"),
        (good_line(c3="1.5"), "column 3: expected an integer"),
        (good_line(c15="0000fffg"), "column 15: expected 8 hexadecimal digits"),
        (good_line(c40="ffff"), "column 40: expected 8 hexadecimal digits or nothing, got 'ffff'"),
        (good_line() + "\t", "line 2: 41 tab separated columns, expected 40"),
        (good_line()[2:], "39 tab separated columns, expected 40 .*use train.txt"),
        ("", "line 2: 1 tab separated columns"),
    ],
)
def test_a_line_out_of_format_is_named(line, message):
    text = f"{good_line()}\n{line}\n{good_line()}\n"
    with pytest.raises(ValueError, match=message):
        parse_rows(text.encode())


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1000, 1 << 20])
@pytest.mark.parametrize("max_rows", [None, 1, 7, 25])
def test_chunks_do_not_change_the_rows(tmp_path, chunk_bytes, max_rows):
    path = tmp_path / "train.txt"
    lines = [good_line(c1=str(row % 2), c2=str(row)) for row in range(20)]
    path.write_text("\n".join(lines))
    chunks = list(iter_rows(path, chunk_bytes=chunk_bytes, max_rows=max_rows))
    label = np.concatenate([chunk.label for chunk in chunks])
    assert label.tolist() == [row % 2 for row in range(20)][:max_rows]
    counts = np.expm1(np.concatenate([chunk.dense[:, 0] for chunk in chunks]))
    assert counts.round().astype(int).tolist() == list(range(20))[:max_rows]


def test_an_error_deep_in_a_stream_names_its_line(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("\n".join([good_line()] * 10 + [good_line(c20="?")]))
    with pytest.raises(ValueError, match=r"train\.txt, line 11, column 20"):
        list(iter_rows(path, chunk_bytes=500))


def test_load_numbers_values_and_splits_by_position(tmp_path):
    path = tmp_path / "train.txt"
    values = ["", "000000aa", "000000aa", "000000bb"] + ["000000aa"] * 3 + ["000000cc"] * 3
    path.write_text("\n".join(good_line(c15=value) for value in values))
    rows = data.load("criteo", path=path)
    assert rows.split.tolist() == [0] * 7 + [1] + [2] * 2
    assert rows.names["C1"].tolist() == ["000000aa", "", "000000bb", "000000cc"]
    assert rows.counts["C1"].tolist() == [5, 1, 1, 0]
    assert rows.cardinalities["C2"] == 1
    assert rows.dense is not None
    assert rows.dense.shape == (10, 13)
    assert len(data.load("criteo", path=path, max_rows=4)) == 4


def test_nothing_to_read_is_an_error(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("")
    with pytest.raises(ValueError, match="is empty"):
        data.load("criteo", path=path)
    with pytest.raises(ValueError, match=r"max_rows .*1.*got 0"):
        data.load("criteo", path=path, max_rows=0)


def test_criteo_says_where_its_file_goes(monkeypatch, tmp_path):
    monkeypatch.setenv("MEMCOM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"kaggle.*put train\.txt into"):
        data.load("criteo")


@pytest.mark.realdata
def test_the_real_sample_agrees_with_the_csv_module(real):
    real("criteo-10k")
    rows = data.load("criteo-10k")
    path = data_root() / "criteo-10k" / "train_examples.txt"
    with path.open(newline="") as file:
        lines = list(csv.reader(file, delimiter="\t"))
    assert len(rows) == len(lines) == 10_000
    assert rows.label.tolist() == [int(line[0]) for line in lines]
    assert rows.label.mean() == pytest.approx(0.218, abs=0.0005)
    for column in range(26):
        name = f"C{column + 1}"
        written = [line[14 + column] for line in lines]
        assert rows.names[name][rows.fields[name]].tolist() == written
        assert (np.diff(rows.counts[name]) <= 0).all()
    distinct = {(column, line[column]) for line in lines for column in range(14, 40)}
    assert len({pair for pair in distinct if pair[1]}) == 43_579
    assert rows.dense is not None
    dense = [[math.log1p(max(int(c), 0)) if c else 0.0 for c in line[1:14]] for line in lines]
    assert rows.dense == pytest.approx(np.array(dense), rel=1e-6)
