"""Ids, numbers and times: right, or refused with row and value."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcom import data

pd = pytest.importorskip("pandas")
LIMIT = 2**63


def load(tmp_path, column, *, kind="csv", **roles):
    """A file with a column x; it is the time unless a role is given."""
    frame = pd.DataFrame({"u": range(len(column)), "i": range(len(column)), "x": column})
    path = tmp_path / f"own.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    return data.load(path, **{"user_col": "u", "item_col": "i"} | (roles or {"time_col": "x"}))


def by_row(loaded, values):
    order = np.argsort(loaded.user_names[loaded.user].astype(int))
    return values[order].tolist()


@pytest.mark.parametrize("bad", ["1e30", "1e300", "-1e19", str(LIMIT), str(-LIMIT - 1), "9" * 40])
def test_times_that_overflow_are_refused(tmp_path, bad):
    with pytest.raises(ValueError, match=rf"own\.csv: column 'x', data row 3: .*'{bad}'"):
        load(tmp_path, ["1", "2", bad, "4"])


@pytest.mark.parametrize(
    "column",
    [
        np.array([1, 2**63], dtype=np.uint64),
        np.array([1.0, 1e30]),
        np.array([1.0, -9.3e18]),
        np.array([1.0, np.inf]),
        np.array([1.0, 2.0**63], dtype=np.float32),
    ],
)
def test_times_of_parquet_that_overflow_are_refused(tmp_path, column):
    with pytest.raises(ValueError, match=r"own\.parquet: column 'x', data row 2: .*2\^63"):
        load(tmp_path, column, kind="parquet")


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        (["1000", "2000-01-01", "3000"], 2, "2000-01-01"),
        (["1600000000", "1600000001", "2020-01-01T00:00"], 3, "2020-01-01T00:00"),
        (["2020-01-01", "2020-01-02", "7"], 3, "7"),
        (["2020-01-01", "2020"], 2, "2020"),
        (["5", "5.5", "soon"], 3, "soon"),
    ],
)
def test_dates_among_numbers_are_refused(tmp_path, column, row, value):
    with pytest.raises(ValueError, match=f"column 'x', data row {row}: expected .*'{value}'"):
        load(tmp_path, column)


@given(st.lists(st.integers(-LIMIT, LIMIT - 1), min_size=1, max_size=9))
def test_every_integer_is_exact(tmp_path_factory, seconds):
    for kind in ("csv", "parquet"):
        loaded = load(tmp_path_factory.mktemp("t"), seconds, kind=kind)
        assert by_row(loaded, loaded.time) == seconds


@given(st.lists(st.floats(-(2.0**62), 2.0**62), min_size=1, max_size=9))
def test_fractions_of_seconds_are_rounded_down(tmp_path_factory, seconds):
    loaded = load(tmp_path_factory.mktemp("t"), [repr(value) for value in seconds])
    assert by_row(loaded, loaded.time) == [int(np.floor(value)) for value in seconds]


MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))


@given(st.lists(MOMENTS, min_size=1, max_size=9))
def test_every_date_is_exact_or_refused(tmp_path_factory, moments):
    try:
        loaded = load(tmp_path_factory.mktemp("t"), [each.isoformat() for each in moments])
    except ValueError as error:
        assert "data row" in str(error)  # noqa: PT017
        assert not all(1700 < each.year < 2200 for each in moments)
        return
    aware = (each.replace(microsecond=0, tzinfo=UTC) for each in moments)
    start = datetime(1970, 1, 1, tzinfo=UTC)
    assert by_row(loaded, loaded.time) == [(each - start) // timedelta(seconds=1) for each in aware]


def test_dates_of_parquet(tmp_path):
    column = [date(1970, 1, 2), date(1970, 1, 3)]
    assert load(tmp_path, column, kind="parquet").time.tolist() == [86_400, 172_800]
    column = pd.to_datetime(["1970-01-01T00:00:05+01:00", "1970-01-02T00:00:00+00:00"], utc=True)
    assert load(tmp_path, column, kind="parquet").time.tolist() == [5 - 3600, 86_400]


@pytest.mark.parametrize("bad", ["1e39", "-1e300", "1e400", "good", "nan", "inf", "1,5", "0x1f"])
def test_ratings_and_dense_columns_are_numbers_that_float32_can_hold(tmp_path, bad):
    for roles in ({"rating_col": "x"}, {"label_col": "i", "item_col": None, "dense_cols": ["x"]}):
        with pytest.raises(ValueError, match=f"column 'x', data row 2: expected a number.*'{bad}'"):
            load(tmp_path, ["1", bad], **roles)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_ratings_are_exact(tmp_path_factory, values):
    loaded = load(tmp_path_factory.mktemp("r"), [repr(value) for value in values], rating_col="x")
    assert by_row(loaded, loaded.rating) == values


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_ids_above_two_to_the_63_keep_their_names(tmp_path, kind):
    large = np.array([2**63 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
    loaded = load(tmp_path, large, kind=kind, item_col="x")
    assert sorted(loaded.item_names) == sorted(str(value) for value in large.tolist())
    small = np.array([10, 9, 2**62], dtype=np.uint64)
    loaded = load(tmp_path, small, kind=kind, item_col="x")
    assert loaded.item_names.tolist() == ["9", "10", str(2**62)]


def test_a_pandas_index_is_a_column_like_others(tmp_path):
    frame = pd.DataFrame({"who": [7, 8], "what": ["a", "b"], "when": [3, 4]})
    for index in ("who", "when", ["who", "what"]):
        frame.set_index(index).to_parquet(tmp_path / "own.parquet")
        loaded = data.load(
            tmp_path / "own.parquet", user_col="who", item_col="what", time_col="when"
        )
        assert loaded.user_names[loaded.user].tolist() == ["7", "8"]
        assert loaded.time.tolist() == [3, 4]


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "own.parquet"
    pd.DataFrame({"u": [1, 2], "i": [3, 4]}).to_parquet(path)
    whole = path.read_bytes()
    for broken in (b"", b"PAR1", whole[: len(whole) // 2], whole[4:], whole[:-9] + b"x" * 9):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"own\.parquet is no Parquet file or is damaged"):
            data.load(path, user_col="u", item_col="i")
