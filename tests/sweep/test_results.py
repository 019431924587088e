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


@pytest.mark.parametrize(("read", "name"), READERS)
def test_a_folder_without_sweeps_is_named(tmp_path, read, name):
    with pytest.raises(FileNotFoundError, match=rf"{name}\.csv in .*{tmp_path.name}"):
        read(tmp_path)
