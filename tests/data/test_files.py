from __future__ import annotations

import gzip

import numpy as np
import pytest

from memcom import data

ROWS = [
    ("ann", "tea", 3, 4.0),
    ("ann", "milk", 1, 2.0),
    ("ann", "rye", 2, 5.0),
    ("ann", "oats", 5, 1.0),
    ("ann", "figs", 4, 3.0),
    ("bob", "tea", 9, 5.0),
]
COLUMNS = ["who", "what", "when", "stars"]
ROLES = {"user_col": "who", "item_col": "what", "time_col": "when", "rating_col": "stars"}


def text(separator: str) -> str:
    lines = [COLUMNS, *ROWS]
    return "".join(separator.join(map(str, line)) + "\n" for line in lines)


@pytest.fixture(params=["csv", "tsv", "csv.gz", "parquet", "txt"])
def path(request, tmp_path):
    import pandas as pd

    path = tmp_path / f"shop.{request.param}"
    if request.param == "parquet":
        pd.DataFrame(ROWS, columns=COLUMNS).to_parquet(path)
    elif request.param == "csv.gz":
        path.write_bytes(gzip.compress(text(",").encode()))
    else:
        path.write_text(text({"csv": ",", "tsv": "\t", "txt": ";"}[request.param]))
    return path


def test_every_format_gives_the_same(path):
    options = {"separator": ";"} if path.suffix == ".txt" else {}
    shop = data.load(path, **ROLES, **options)
    assert shop.name == path.name
    assert (shop.num_users, shop.num_items) == (2, 5)
    loaded = zip(
        shop.user_names[shop.user],
        shop.item_names[shop.item],
        shop.time.tolist(),
        shop.rating.tolist(),
        strict=True,
    )
    assert sorted(loaded) == sorted(ROWS)
    # Ann's five rows by time: milk rye tea | figs | oats. Bob has one row: training.
    split = dict(
        zip(
            zip(shop.user_names[shop.user], shop.item_names[shop.item], strict=True),
            shop.split.tolist(),
            strict=True,
        )
    )
    assert split == {
        ("ann", "milk"): 0,
        ("ann", "rye"): 0,
        ("ann", "tea"): 0,
        ("ann", "figs"): 1,
        ("ann", "oats"): 2,
        ("bob", "tea"): 0,
    }
    assert shop.item_names.tolist() == ["tea", "milk", "rye", "figs", "oats"]
    assert shop.item_counts.tolist() == [2, 1, 1, 0, 0]


def test_a_path_may_be_a_string_and_columns_may_be_few(path):
    options = {"separator": ";"} if path.suffix == ".txt" else {}
    shop = data.load(str(path), user_col="who", item_col="what", **options)
    assert shop.time is None
    assert shop.rating is None
    assert len(shop) == len(ROWS)


def write(tmp_path, content: str, name: str = "own.csv"):
    path = tmp_path / name
    path.write_text(content)
    return path


def test_ids_are_compared_as_written(tmp_path):
    path = write(tmp_path, "u,i\n1,007\n1,7\n1,NA\n")
    assert sorted(data.load(path, user_col="u", item_col="i").item_names) == ["007", "7", "NA"]


def test_numeric_ids_break_ties_by_number(tmp_path):
    path = write(tmp_path, "u,i\n1,10\n1,9\n1,100\n")
    assert data.load(path, user_col="u", item_col="i").item_names.tolist() == ["9", "10", "100"]


def test_times_may_be_dates(tmp_path):
    path = write(tmp_path, "u,i,t\n1,1,1970-01-02\n1,2,1970-01-01T00:00:05+00:00\n")
    loaded = data.load(path, user_col="u", item_col="i", time_col="t")
    assert sorted(loaded.time.tolist()) == [5, 86_400]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "u,item_id\n1,2\n",
            {"user_col": "u", "item_col": "itemid"},
            r"no column 'itemid' \(item_col\); it has 'u', 'item_id'; did you mean 'item_id'",
        ),
        ("u,i\n1,2\n", {"user_col": "u"}, "item_col is needed"),
        (
            "u,i\n1,2\n1,\n",
            {"user_col": "u", "item_col": "i"},
            "column 'i' has 1 missing values, the first in data row 2",
        ),
        (
            "u,i,r\n1,2,good\n",
            {"user_col": "u", "item_col": "i", "rating_col": "r"},
            "column 'r', data row 1: expected a number, got 'good'",
        ),
        (
            "u,i,t\n1,2,2020-01-01\n1,3,soon\n",
            {"user_col": "u", "item_col": "i", "time_col": "t"},
            "column 't', data row 2: expected seconds .*or a date .* got 'soon'",
        ),
        ("u,i\n", {"user_col": "u", "item_col": "i"}, "no row is left"),
        ("u,i\n1,2\n", {"user_col": "u", "item_col": "i", "split": "time"}, "can by random"),
        ("u,i\n1,2\n", {"user_col": "u", "item_col": "i", "dense_cols": ["i"]}, "need label_col"),
        ("u,y\n1,2\n", {"label_col": "y"}, "at least one of user_col"),
        ("u,y\n1,2\n", {"user_col": "u", "label_col": "y", "rating_col": "u"}, "do not go with"),
        ("u,y\n1,2\n", {"user_col": "u", "label_col": "y", "split": "time"}, "can by random"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(write(tmp_path, content), **options)


def test_a_parquet_file_without_the_column_lists_those_there_are(tmp_path):
    import pandas as pd

    path = tmp_path / "x.parquet"
    pd.DataFrame({"a": [1], "b": [2]}).to_parquet(path)
    with pytest.raises(ValueError, match=r"no column 'c' \(item_col\); it has 'a', 'b'"):
        data.load(path, user_col="a", item_col="c")


def test_a_file_that_is_not_there_and_one_of_an_unknown_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.csv"):
        data.load(tmp_path / "none.csv", user_col="u", item_col="i")
    with pytest.raises(ValueError, match="ending must be one of"):
        data.load(write(tmp_path, "u i\n", "x.dat"), user_col="u", item_col="i")
    with pytest.raises(TypeError, match=r"no option 'user'.*user_col"):
        data.load(write(tmp_path, "u,i\n"), user="u")


def test_a_label_column_gives_labelled_rows(tmp_path):
    lines = [f"{row % 3},{row % 2},{'abc'[row % 3]},{row / 2},{100 - row}" for row in range(20)]
    path = write(tmp_path, "user,clicked,page,price,t\n" + "\n".join(lines))
    rows = data.load(
        path,
        user_col="user",
        label_col="clicked",
        time_col="t",
        field_cols=["page"],
        dense_cols=["price"],
    )
    assert list(rows.fields) == ["user", "page"]
    assert rows.label.tolist() == [row % 2 for row in range(20)]
    assert rows.label_names == ("0", "1")
    assert rows.names["page"][rows.fields["page"]].tolist() == ["abc"[row % 3] for row in range(20)]
    assert rows.dense is not None
    assert rows.dense[:, 0].tolist() == [row / 2 for row in range(20)]
    # Times fall from row to row, so the first rows are the newest.
    assert rows.split.tolist() == [2] * 4 + [1] * 2 + [0] * 14
    again = data.load(path, user_col="user", label_col="clicked", split="random", seed=4)
    assert set(np.unique(again.split)) <= {0, 1, 2}
    assert "random" in again.notes
