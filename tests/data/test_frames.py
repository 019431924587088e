"""Tables in memory give what the same table in a file gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memcom import data
from memcom.data.frames import ITEM, USER
from tests.data.test_files import COLUMNS, ROLES, ROWS

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")


class Interchange:
    """A table that knows the older interchange of data frames only."""

    def __init__(self, table):
        self.table = table

    def __dataframe__(self, *args, **options):
        return self.table.__dataframe__(*args, **options)


class ToPandas:
    def __init__(self, frame):
        self.frame = frame

    def to_pandas(self):
        return self.frame


def frame():
    return pd.DataFrame(ROWS, columns=COLUMNS)


def polars():
    return pytest.importorskip("polars").DataFrame(ROWS, schema=COLUMNS, orient="row")


TABLES = {
    "pandas": frame,
    "index": lambda: frame().set_index("who"),
    "unnamed index": lambda: frame().iloc[::-1].sort_index(ascending=False).iloc[::-1],
    "categories": lambda: frame().astype({"who": "category"}),
    "arrow": lambda: pa.table(frame()),
    "batches": lambda: pa.table(frame()).to_reader(),
    "polars": polars,
    "interchange": lambda: Interchange(pa.table(frame())),
    "to_pandas": lambda: ToPandas(frame()),
}


def content(found):
    return (
        found.num_users,
        found.num_items,
        *(column.tolist() for column in (found.user, found.item, found.time, found.rating)),
        found.split.tolist(),
        found.item_names.tolist(),
        found.user_names.tolist(),
    )


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_gives_what_its_file_gives(kind, tmp_path):
    frame().to_csv(tmp_path / "shop.csv", index=False)
    expected = data.load(tmp_path / "shop.csv", **ROLES)
    table = TABLES[kind]()
    found = data.load(table, **ROLES, min_rating=None)
    assert content(found) == content(expected)
    assert found.name == type(table).__name__


def test_rows_with_a_label_come_from_tables_too():
    table = frame().assign(label=[0, 1, 0, 1, 0, 1])
    found = data.load(
        table, user_col="who", field_cols=["what"], dense_cols=["stars"], label_col="label"
    )
    assert found.cardinalities == {"who": 2, "what": 5}
    assert found.dense[:, 0].tolist() == [row[3] for row in ROWS]


PAIRS = [(7, 1), (7, 2), (7, 1), (9, 2), (9, 5)]
ARRAY = np.array(PAIRS)


@pytest.mark.parametrize(
    "pairs",
    [
        PAIRS,
        [list(pair) for pair in PAIRS],
        (pair for pair in PAIRS),
        zip(*zip(*PAIRS, strict=True), strict=True),
        {pair: None for pair in PAIRS}.keys(),
        ARRAY,
        torch.tensor(PAIRS),
        (ARRAY[:, 0], ARRAY[:, 1]),
        (torch.tensor(ARRAY[:, 0]), pd.Series(ARRAY[:, 1])),
        pd.DataFrame(PAIRS, columns=[USER, ITEM]),
    ],
    ids=lambda pairs: type(pairs).__name__,
)
def test_pairs_without_names(pairs):
    columns = {"user_col": USER, "item_col": ITEM} if isinstance(pairs, pd.DataFrame) else {}
    found = data.load(pairs, **columns)
    loaded = zip(found.user_names[found.user], found.item_names[found.item], strict=True)
    assert sorted(loaded) == sorted({(str(user), str(item)) for user, item in PAIRS})


def test_text_is_an_id():
    found = data.load([("ann", "tea"), ("bob", "tea"), ("bob", 7)])
    assert sorted(found.item_names) == ["7", "tea"]


@pytest.mark.parametrize(
    ("table", "options", "error", "named"),
    [
        (frame(), {"user_col": "whom", "item_col": "what"}, ValueError, "DataFrame has no .*'who'"),
        (frame(), {}, ValueError, "user_col is needed"),
        (frame(), {**ROLES, "separator": ";"}, ValueError, "separator and encoding are of text"),
        (frame().assign(who=None), ROLES, ValueError, "DataFrame: column 'who' has 6 missing"),
        (frame().assign(stars="x"), ROLES, ValueError, "column 'stars', data row 1: expected a nu"),
        (frame(), {**ROLES, "colour": 3}, TypeError, "a table has no option 'colour'"),
        (ToPandas(3), ROLES, ValueError, "ToPandas is no table, but gives a int"),
        (3, {}, TypeError, r"data must be a path, a table of pandas.*got 3"),
        ({"a": 1}, {}, TypeError, "data must be a path"),
        ([1, 2], {}, ValueError, r"entry 0 is no pair \(user, item\): 1"),
        ([(1, 2), (1, 2, 3)], {}, ValueError, "entry 1 is no pair"),
        ([], {}, ValueError, "pairs: no row is left"),
        (np.ones((2, 3)), {}, ValueError, r"must be \(rows, 2\), got shape \(2, 3\)"),
        ((np.ones(2), np.ones(3)), {}, ValueError, r"got shapes \(2,\) and \(3,\)"),
        (PAIRS, {"time_col": "when"}, ValueError, "pairs has no column 'when'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(table, options, error, named):
    with pytest.raises(error, match=named):
        data.load(table, **options)
