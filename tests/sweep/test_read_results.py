"""CSV files of sweeps, read back as frames."""

from __future__ import annotations

import csv

import pytest

from memcom._files import write_csv
from memcom.sweep import read_pairs, read_rows, read_trials

pytest.importorskip("pandas")

READERS = [(read_rows, "summary"), (read_pairs, "pairs"), (read_trials, "trials")]


@pytest.mark.parametrize(("read", "name"), READERS)
def test_every_number_of_every_sweep_is_there(tmp_path, read, name):
    write_csv(tmp_path / "b" / f"{name}.csv", [{"method": "qr", "loss": 1 / 3}])
    write_csv(tmp_path / "a" / f"{name}.csv", [{"method": "hash", "loss": 0.1, "auc": 0.7}])
    both = read(tmp_path)
    assert list(both) == ["sweep", "method", "loss", "auc"]
    assert both["sweep"].tolist() == ["a", "b"]
    assert both["loss"].tolist() == pytest.approx([0.1, 1 / 3], rel=1e-15)
    assert both["auc"].isna().tolist() == [False, True]
    one = read(tmp_path / "a")
    with open(tmp_path / "a" / f"{name}.csv") as file:
        assert list(one) == ["sweep", *next(csv.reader(file))]
    assert one["sweep"].tolist() == ["a"]


def test_scores_of_different_tasks_stand_under_one_name(tmp_path):
    for metric, score in (("ndcg", 0.1), ("auc", 0.7)):
        row = {metric: score, f"{metric}_low": score - 0.01, f"{metric}_high": score + 0.02}
        loss = {"loss": 0.1, "loss_low": 0.0, "loss_high": 0.2}
        write_csv(tmp_path / metric / "summary.csv", [{"method": "qr"} | row | loss])
    rows = read_rows(tmp_path).set_index("sweep")
    assert rows["metric"].to_dict() == {"auc": "auc", "ndcg": "ndcg"}
    assert rows.loc["auc", ["value", "value_low", "value_high"]].tolist() == [0.7, 0.69, 0.72]
    assert rows.loc["ndcg", "value"] == rows.loc["ndcg", "ndcg"] == 0.1


def test_the_tables_of_a_sweep_are_named_by_what_varies(tmp_path):
    one, two = ({"data": data, "task": "clicks"} for data in ("criteo", "flights"))
    clicks = [one | {"model": model, "method": "qr"} for model in ("dlrm", "dcn")]
    write_csv(tmp_path / "clicks" / "summary.csv", clicks)
    write_csv(tmp_path / "both" / "summary.csv", [each | {"method": "qr"} for each in (one, two)])
    assert read_rows(tmp_path)["table"].tolist() == [
        "both, data criteo", "both, data flights", "clicks, model dlrm", "clicks, model dcn",
    ]  # fmt: skip


@pytest.mark.parametrize(("read", "name"), READERS)
def test_a_folder_without_sweeps_is_named(tmp_path, read, name):
    with pytest.raises(FileNotFoundError, match=rf"{name}\.csv in .*{tmp_path.name}"):
        read(tmp_path)
