"""Losses of a folder of sweeps, made by the sweep itself."""

from __future__ import annotations

import csv
import shutil

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("scipy.stats")

from experiments.claims import Results
from memcom.data import load
from memcom.sweep import run, write_report
from tests.sweep.toy import NUM_TRIALS, spec


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Two sweeps of the same specification."""
    folder = tmp_path_factory.mktemp("results")
    data = load("synthetic", num_users=60, num_items=100)
    write_report(run(spec(), folder / "one", data=data, progress=False), folder / "one")
    shutil.copytree(folder / "one", folder / "two")
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return Results(folder)


def test_both_sweeps_are_there(results):
    assert results.sweeps == ["one", "two"]
    assert set(results.rows["metric"]) == {"score"}
    assert len(results.trials) == 2 * NUM_TRIALS
    assert results.ratios("one") == [2, 4]
    assert results.tables("one") == [{}]
    assert results.tables("three") == []


def test_a_loss_is_that_of_the_file(folder, results):
    with open(folder / "one" / "summary.csv") as file:
        (row,) = (
            row for row in csv.DictReader(file) if row["method"] == "hash" and row["ratio"] == "2.0"
        )
    loss = results.loss("one", "hash", 2)
    assert loss == tuple(float(row[name]) for name in ("loss", "loss_low", "loss_high"))
    assert results.loss("one", "hash", 3) is None
    assert results.loss("three", "hash", 2) is None
    assert results.loss("one", "hash", 2, model="dlrm") is None  # no such column


def test_pairs_face_each_other(results):
    there = results.loss("one", "hash", 2, "memcom")
    back = results.loss("one", "memcom", 2, "hash")
    assert (1 - there.value) * (1 - back.value) == pytest.approx(1)
    assert (1 - there.low) * (1 - back.high) == pytest.approx(1, abs=1e-6)


def test_a_table_carries_signal_if_its_controls_lose(folder, results, tmp_path):
    assert results.carries_signal("one")
    assert not results.carries_signal("three")
    shutil.copytree(folder, tmp_path / "again")
    path = tmp_path / "again" / "one" / "summary.csv"
    table = pd.read_csv(path)
    table.loc[table["method"] == "popular", "loss_low"] = -0.01
    table.to_csv(path, index=False)
    assert not Results(tmp_path / "again").carries_signal("one")


def test_tables_of_several_data_sets_are_told_apart(folder, tmp_path):
    (tmp_path / "both").mkdir()
    for name in ("summary", "pairs", "trials"):
        table = pd.read_csv(folder / "one" / f"{name}.csv")
        both = pd.concat([table, table.assign(data="others")])
        both.to_csv(tmp_path / "both" / f"{name}.csv", index=False)
    results, data = Results(tmp_path), table["data"].iloc[0]
    assert results.tables("both") == [{"data": data}, {"data": "others"}]
    assert results.loss("both", "hash", 2, data="others") is not None
    with pytest.raises(ValueError, match="2 rows of hash at 2"):
        results.loss("both", "hash", 2)


def test_a_sweep_need_not_have_pairs(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "one" / "pairs.csv").unlink()
    results = Results(tmp_path)
    assert results.loss("one", "hash", 2, "memcom") is None
    assert results.loss("two", "hash", 2, "memcom") is not None
    assert results.loss("one", "hash", 2) is not None


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"summary\.csv"):
        Results(tmp_path)


def test_data_sets_are_described_where_the_folder_has_them(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert Results(tmp_path).data_sets.empty
    (tmp_path / "data-sets.csv").write_text("data,head_share\nsynthetic,0.25\n")
    described = Results(tmp_path).data_sets.to_dict("records")
    assert described == [{"data": "synthetic", "head_share": 0.25}]
