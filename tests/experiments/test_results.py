"""A folder of sweeps, made by the sweep itself, read back and asked."""

from __future__ import annotations

import csv
import shutil

import pytest

from experiments.claims import Results
from experiments.claims.pages import losses_markdown, made, sweep_markdown
from memcom.data import load
from memcom.sweep import run, write_report
from tests.sweep.toy import NUM_TRIALS, spec

pd = pytest.importorskip("pandas")
pytest.importorskip("scipy.stats")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    data = load("synthetic", num_users=60, num_items=100)
    for name in ("one", "two"):
        write_report(run(spec(), folder / name, data=data, progress=False), folder / name)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return Results(folder)


def rows_of(folder, name, **wanted):
    with open(folder / name / "summary.csv") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if wanted.items() <= row.items()]


def test_both_sweeps_are_there(results):
    assert results.sweeps == ["one", "two"]
    assert set(results.summary["metric"]) == {"score"}
    assert len(results.trials) == 2 * NUM_TRIALS
    assert set(results.trials["seed"]) == {0, 1, 2}


def test_a_loss_is_that_of_the_file(folder, results):
    (row,) = rows_of(folder, "one", method="hash", ratio="2.0")
    loss = results.loss("one", "hash", 2)
    assert loss == tuple(float(row[name]) for name in ("loss", "loss_low", "loss_high"))
    assert results.loss("one", "hash", 3) is None
    assert results.loss("three", "hash", 2) is None
    assert results.loss("one", "hash", 2, model="dlrm") is None  # no such column
    assert results.loss("one", "full", None) is None


def test_pairs_face_each_other(results):
    there, back = (
        results.against("one", *pair, 2) for pair in (("hash", "memcom"), ("memcom", "hash"))
    )
    assert (1 - there.value) * (1 - back.value) == pytest.approx(1)
    assert (1 - there.low) * (1 - back.high) == pytest.approx(1, abs=1e-6)


def test_every_table_of_some_sweeps(results):
    cases = results.all_against("hash", "memcom", ["one", "two", "three"])
    assert [name for name, _ in cases] == ["one 2×", "one 4×", "two 2×", "two 4×"]
    assert all(loss is not None for _, loss in cases)


def test_a_table_carries_signal_if_its_controls_lose(folder, results, tmp_path):
    assert results.carries_signal("one")
    assert not results.carries_signal("three")
    shutil.copytree(folder, tmp_path / "again")
    path = tmp_path / "again" / "one" / "summary.csv"
    table = pd.read_csv(path)
    table.loc[table["method"] == "popular", "loss_low"] = -0.01
    table.to_csv(path, index=False)
    weak = Results(tmp_path / "again")
    assert not weak.carries_signal("one")
    assert [name for name, _ in weak.all_against("hash", "memcom", ["one", "two"])] == [
        "two 2×",
        "two 4×",
    ]


def test_tables_of_several_data_sets_are_named_by_them(folder, tmp_path):
    for name in ("summary", "pairs", "trials"):
        table = pd.read_csv(folder / "one" / f"{name}.csv")
        other = table.assign(data="others")
        (tmp_path / "both").mkdir(exist_ok=True)
        pd.concat([table, other]).to_csv(tmp_path / "both" / f"{name}.csv", index=False)
    data = table["data"].iloc[0]
    cases = Results(tmp_path).all_against("hash", "memcom", ["both"])
    named = [f"{data} 2×", f"{data} 4×", "others 2×", "others 4×"]
    assert [case for case, _ in cases] == named
    assert all(loss is not None for _, loss in cases)


def test_pages_hold_every_row(results):
    page = sweep_markdown(results, "one")
    assert page.count("| 2× |") == page.count("| 4× |") == 5
    assert f"{NUM_TRIALS} trials, 0 failed, seeds 0, 1, 2;" in page
    table = losses_markdown(results, ["one", "three"], ["hash"], 2).splitlines()
    assert len(table) == 3
    assert table[2].startswith("| one |")


def test_a_trial_that_two_sweeps_share_was_run_once(results):
    assert len(results.trials) == 2 * NUM_TRIALS  # the same spec twice
    assert made(results.trials).startswith(f"{NUM_TRIALS} trials,")


def test_a_rate_or_an_epoch_at_the_end_of_what_was_tried_says_so(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "one" / "summary.csv"
    table = pd.read_csv(path).astype({"rate_end": object})
    table["learning_rate"], table["best_epoch"] = 0.01, 60
    table["rate_end"], table["last_epoch"] = None, 0
    table.loc[table["method"] == "hash", ["rate_end", "last_epoch"]] = ["lowest", 2]
    table.to_csv(path, index=False)
    rows = [line for line in sweep_markdown(Results(tmp_path), "one").splitlines() if "×" in line]
    ends = {"hash": "| 0.01, lowest | 60, last |"}
    for line in rows:
        method = line.split(" | ")[1]
        assert line.endswith(ends.get(method, "| 0.01 | 60 |")), line


def test_few_versions_are_named_and_many_are_counted(results):
    trials = results.trials.drop_duplicates("key")
    few, many = (
        trials.assign(commit=[f"c{place % count}" for place in range(len(trials))])
        for count in (3, 4)
    )
    assert made(few).endswith(", commit c0 and c1 and c2.")
    assert made(many).endswith(", 4 commits.")


def test_times_have_columns_where_they_were_taken(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert "| rate | epoch |\n" in sweep_markdown(Results(tmp_path), "one")
    path = tmp_path / "one" / "summary.csv"
    table = pd.read_csv(path)
    table.loc[table["method"] == "hash", "lookup_time"] = 0.875
    table.to_csv(path, index=False)
    page = sweep_markdown(Results(tmp_path), "one")
    assert page.count("| rate | epoch | lookup |\n") == 1
    assert page.count("| 0.88 |\n") == 2
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1
    assert "lookup" not in sweep_markdown(Results(tmp_path), "two")


def test_a_sweep_need_not_have_pairs(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "one" / "pairs.csv").unlink()
    results = Results(tmp_path)
    assert results.against("one", "hash", "memcom", 2) is None
    assert results.against("two", "hash", "memcom", 2) is not None
    assert results.loss("one", "hash", 2) is not None


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*summary\.csv"):
        Results(tmp_path)


def test_data_sets_are_described_where_the_folder_has_them(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert Results(tmp_path).data_sets.empty
    (tmp_path / "data-sets.csv").write_text("data,head_share\nsynthetic,0.25\n")
    assert Results(tmp_path).data_sets.to_dict("records") == [
        {"data": "synthetic", "head_share": 0.25}
    ]
