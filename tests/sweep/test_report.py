"""Files of a report: every row and every trial, failures in full."""

from __future__ import annotations

import csv
import math

import pytest

from memcom.sweep import run, tables, write_report
from tests.sweep.toy import NUM_TRIALS, spec


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return run(spec(), folder, data=data, progress=False), folder


def test_files_hold_every_row_and_every_trial(finished):
    found, folder = finished
    files, (rows,) = write_report(found, folder)
    summary, trials, pairs = (rows_of(files[name]) for name in ("summary", "trials", "pairs"))
    assert len(summary) == 2 + 2 * 5
    assert len(trials) == len({row["key"] for row in trials}) == NUM_TRIALS
    assert len(pairs) == 2 * 5 * 4 + 2
    for row, written in zip(rows, summary, strict=True):
        assert (row.method, "synthetic", "finished") == (
            *(written["method"], written["data"], written["status"]),
        )
        for name, value in (("score", row.value.value), ("loss_low", row.loss.low)):
            assert written[name] == ("" if math.isnan(value) else repr(value))
    text = files["report"].read_text()
    for control in ("popular", "full", "small-dim", "low-rank", "truncate"):
        assert f"\n| {control} " in text
    assert "clearly above the controls" in text


SUMMARY = """data task method ratio budget status nbytes compression_ratio total_nbytes p_value
    p_value_t p_holm valid learning_rate rate_end best_epoch last_epoch seeds failed seconds
    score score_low score_high loss loss_low loss_high seed_half_width other"""
PAIRS = "data task method other ratio budget loss loss_low loss_high"
TRIALS = """data task method ratio budget learning_rate seed status failed seconds key memcom
    commit torch python device machine load finished nbytes compression_ratio total_nbytes
    valid_score best_epoch score other"""


@pytest.mark.parametrize(
    ("name", "columns"), [("summary", SUMMARY), ("pairs", PAIRS), ("trials", TRIALS)]
)
def test_columns_are_those_of_the_committed_results(finished, name, columns):
    found, folder = finished
    assert list(rows_of(write_report(found, folder).files[name])[0]) == columns.split()


def test_the_picture_gets_the_rows(finished):
    found, folder = finished
    plots = pytest.importorskip("memcom.plots")
    seen = {}

    def draw(rows, **names):
        seen["rows"], seen["names"] = rows, names
        return plots.quality_against_ratio(rows, **names)

    files = write_report(found, folder, draw=draw).files
    picture = files["picture synthetic"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"]({picture.name})" in files["report"].read_text()
    assert seen["names"] == {"quality": "score", "label": "score"}
    assert len(seen["rows"]) == 12


def test_the_full_table_and_its_controls_alone_have_a_report_but_no_picture(tmp_path, data):
    found = run(spec(methods=(), ratios=(), seeds=1), tmp_path, data=data, progress=False)
    files = write_report(found, tmp_path, draw=pytest.fail).files
    assert set(files) == {"report", "summary", "pairs", "trials"}
    assert [row["method"] for row in rows_of(files["summary"])] == ["popular", "full"]


def test_failures_are_shown_and_are_no_scores(tmp_path, data, monkeypatch):
    monkeypatch.setenv("TOY_FAIL", "hash")
    found = run(spec(ratios=(2, 40), seeds=1), tmp_path, data=data, progress=False)
    files = write_report(found, tmp_path).files
    rows = {(row["method"], row["ratio"]): row for row in rows_of(files["summary"])}
    failed, impossible = rows["hash", "2.0"], rows["memcom", "40.0"]
    assert failed["status"] == "failed: RuntimeError: as it was told to"
    assert failed["score"] == failed["loss"] == failed["p_value"] == ""
    assert failed["failed"] == "2"
    assert impossible["status"].startswith("cannot be that small: ")
    text = files["report"].read_text()
    assert "Traceback (most recent call last)" in text
    assert "Fewer than three seeds" in text


def test_an_unfinished_sweep_has_a_report_with_a_warning(tmp_path, data):
    files = write_report(list(tables(spec(), data)), tmp_path).files
    assert {row["status"].split(":")[0] for row in rows_of(files["summary"])} == {"unfinished"}
    assert "WARNING" in files["report"].read_text()
