from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import pytest

from memcom.experiments import files


def test_json_has_no_nan_and_reads_back(tmp_path: Path) -> None:
    content = {"a": [1, math.nan, {"b": -math.inf}], "c": ("x", 0.5), "d": None}
    path = files.write_json(tmp_path / "deep" / "x.json", content)
    read = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert read == {"a": [1, None, {"b": None}], "c": ["x", 0.5], "d": None}


def test_csv_reads_back(tmp_path: Path) -> None:
    rows = [{"m": "qr(operation=concat, x=1)", "v": 0.25}, {"m": 'a "b"', "v": math.nan}]
    path = files.write_csv(tmp_path / "x.csv", rows)
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert read == [{"m": "qr(operation=concat, x=1)", "v": "0.25"}, {"m": 'a "b"', "v": ""}]


def test_a_failure_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_text(tmp_path / "x.txt", "old")

    def fail(source: str, target: Path) -> None:
        assert Path(source).read_text() == "new"  # complete before it gets the name
        assert Path(source).parent == tmp_path  # so that the renaming is one step
        raise OSError("disk gone")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk gone"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]
