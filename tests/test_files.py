from __future__ import annotations

import csv
import json
import math
import os
import sys
from pathlib import Path

import pytest

from memcom import _files as files


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


def test_what_lies_beside_the_package_is_found_in_a_checkout_and_in_a_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "memcom"
    monkeypatch.setattr(files, "_PACKAGE", package)
    with pytest.raises(FileNotFoundError, match="notebooks"):
        files.shipped("notebooks")
    for folder in (package / "_shipped" / "notebooks", tmp_path / "notebooks"):  # a checkout wins
        folder.mkdir(parents=True)
        assert files.shipped("notebooks") == folder


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = files.write_text(tmp_path / "x.bin", "old")

    def fail(temporary: str) -> None:
        Path(temporary).write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        files.write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_shipped_package_is_imported_here_and_in_child_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "memcom" / "_shipped" / "brought_along"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("ANSWER = 42")
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "memcom")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    for _ in range(2):
        assert files.import_shipped("brought_along").ANSWER == 42
    assert sys.path.count(str(package.parent)) == 1
    assert os.environ["PYTHONPATH"] == f"{package.parent}{os.pathsep}elsewhere"
