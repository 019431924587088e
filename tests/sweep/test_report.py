"""Files of a report: every row and every trial, failures in full."""

from __future__ import annotations

import csv
import json
import math
import warnings
from dataclasses import replace

import pytest

from memcom.sweep import Store, run, tables, terminal_section, write_report
from tests.sweep.toy import NAME, NUM_TRIALS, spec
from tests.test_text import rendered


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return run(spec(), folder, data=data, progress=False), folder


def test_files_hold_every_row_and_every_trial(finished):
    found, folder = finished
    files, (rows,), _ = write_report(found, folder)
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
    p_holm valid learning_rate learning_rate_end best_epoch last_epoch seeds failed
    seconds score score_low score_high loss loss_low loss_high seed_half_width other"""
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


def test_data_that_changed_is_said_and_not_mixed(tmp_path, data):
    file = tmp_path / "pairs.csv"
    named = spec(data=str(file), ratios=(2,), seeds=1)
    changed = replace(data, item=data.item[::-1].copy())
    out = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(named, out, data=data, progress=False)
    (first,) = tables(named, data)
    with pytest.warns(UserWarning, match=r"content under the name pairs\.csv \(13 with checksum"):
        (second,) = run(named, out, data=changed, progress=False)
    before, after = (Store(out).former(table.source, NAME) for table in (second, first))
    assert before == {first.source.checksum: after.total()}
    assert after == {second.source.checksum: before.total()}
    assert before.total() == 1 + 2 * (1 + 5)  # the control, and two rates of all others
    report = write_report([second], out)
    keys = {row["key"] for row in rows_of(report.files["trials"])}
    assert len(keys) == before.total()
    assert keys == {
        each.trial.key
        for each in Store(out).records()
        if each.trial.source.checksum == second.source.checksum
    }
    for text in (
        report.files["report"].read_text(),
        terminal_section(second, *map(first_of, report[1:])),
    ):
        assert "other content under the name pairs.csv" in text
        assert first.source.checksum[:12] in text
        assert second.source.checksum[:12] in text
    # What is asked of the data beside its name is no change of it.
    (other,) = tables(replace(named, data=({"name": str(file), "user_col": "u"},)), data)
    assert not Store(out).former(other.source, NAME)


def first_of(lists):
    return lists[0]


def test_files_without_a_digest_are_counted(tmp_path, data):
    few = spec(ratios=(2,), seeds=1)
    found = run(few, tmp_path, data=data, progress=False)
    assert "without a digest" not in write_report(found, tmp_path).files["report"].read_text()
    files = sorted((tmp_path / "trials").rglob("*.json"))
    for path in files[:3]:
        content = json.loads(path.read_text())
        del content["digest"]
        path.write_text(json.dumps(content | {"format": 1}))
    text = write_report(found, tmp_path).files["report"].read_text()
    assert f"3 of {len(files)} trials are files of an older version" in text


def test_names_and_errors_are_shown_and_do_nothing(tmp_path, data, monkeypatch):
    name = "<img src=x onerror=alert(1)>|`[a](b)`.csv"
    monkeypatch.setenv("TOY_FAIL", "hash")
    monkeypatch.setattr("tests.sweep.toy.FAILURE", "</summary><script>x</script>\n```\n<b>")
    named = spec(data=name, ratios=(2, 40), seeds=1)
    report = write_report(run(named, tmp_path, data=data, progress=False), tmp_path)
    shown = rendered(report.files["report"].read_text())
    assert not {"img", "script", "b", "a"} & set(shown.tags)
    assert shown.tags.count("details") == 4
    assert name in shown.text
    assert "</summary><script>x</script>" in shown.text


def test_a_report_has_the_notes_on_its_methods_and_no_others(tmp_path, data):
    for method, noted in (("lma", True), ("hash", False)):
        found = run(spec(methods=(method,), ratios=(2,)), tmp_path, data=data, progress=False)
        report = write_report(found, tmp_path)
        texts = report.files["report"].read_text(), terminal_section(found[0], report.rows[0])
        for text in texts:
            assert ("lma has 8 keys of 8 bits an id" in text) == noted


def test_what_was_derived_stands_in_the_report_and_beside_its_trial(tmp_path, data, monkeypatch):
    monkeypatch.setenv("TOY_DERIVED", "1")
    changes = {"methods": (), "ratios": (), "references": ["still"]}
    files = write_report(run(spec(**changes), tmp_path, data=data, progress=False), tmp_path).files
    trials = rows_of(files["trials"])
    halved, full = ([t for t in trials if t["method"] == m] for m in ("halved", "full"))
    assert len(halved) == len(full) == 4  # two rates, two more seeds
    for one, other in zip(halved, full, strict=True):
        assert one["key"] == other["key"]
        assert (one["seconds"], one["compression_ratio"]) == ("0.0", "2.0")
    lines = files["report"].read_text().splitlines()
    cells = next(line.split("|") for line in lines if line.startswith("| halved "))
    assert [cell.strip() for cell in cells[2:5]] == ["2.00", "3,200", "3,300 (1.97x)"]
    cells = next(line.split("|") for line in lines if line.startswith("| still "))
    assert [cell.strip() for cell in cells[2:5]] == ["-", "1,000", "1,100"]
