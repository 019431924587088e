"""Sources of the pages: what they leave out, fold and say of a run."""

from __future__ import annotations

import nbformat
import pytest
from nbformat import v4

from memcom.course.build.collect import (
    collect,
    failed_page,
    index_page,
    notebook_page,
    result_rows,
    summarise_runs,
)
from memcom.course.build.notebook import Header, read_header
from memcom.course.build.outputs import WIDGET_VIEW
from memcom.course.build.runner import RunResult
from memcom.course.exercises import CHECK_MIME
from memcom.course.records import RECORD_MIME
from tests.course.build import sample

ROW = {
    "method": "memcom(bias)",
    "nbytes": 1234567,
    "ratio": 15.96,
    "ratio_asked": 16,
    "ndcg_at_10": 0.28125,
    "loss_percent": -4.06,
}
HEADER = Header("Rows & ids", "What <they> share.", ("count",), {})
GOOD = RunResult("03_memcom", HEADER, None, 61.4, 500 * 2**20, results=[ROW])
BAD = RunResult("04_codes", Header("", "", (), {}), None, error="Traceback ```` \x1b[31mv\x1b[0m")


def executed():
    """The sample as a run would leave it, outputs written by hand."""
    notebook = sample.build()
    shown = {
        "figure": {"text/html": '<img src="data:," alt="64 buckets">', "text/plain": "<HTML>"},
        "widget": {WIDGET_VIEW: {"model_id": "1"}, "text/plain": "VBox(children=())"},
        "exercise": {
            CHECK_MIME: {"name": "row", "status": "not tried yet"},
            "text/plain": "row: not <tried> yet",
        },
    }
    for tag, data in shown.items():
        sample.find(notebook, tag).outputs = [v4.new_output("display_data", data=data)]
    notebook.cells[5].outputs = [
        v4.new_output("display_data", data={RECORD_MIME: {"name": "secret"}, "text/plain": ""}),
        v4.new_output("stream", text="50 ids\n"),
    ]
    notebook.cells.insert(6, v4.new_code_cell(""))
    return notebook


def entry(notebook, **run):
    return RunResult("00_sample", read_header(notebook), notebook, **run)


@pytest.fixture(scope="module")
def page():
    return notebook_page(entry(executed(), seconds=3.2, peak_rss_bytes=2**30), "2 CPUs.")


def data_of(page, tag):
    return sample.find(page, tag).outputs[0].data


def test_records_and_empty_cells_leave_no_trace(page):
    assert "secret" not in nbformat.writes(page)
    assert [output.text for output in page.cells[5].outputs] == ["50 ids\n"]
    assert all(cell.source for cell in page.cells)


def test_a_widget_gives_way_to_a_note(page):
    assert list(data_of(page, "widget")) == ["text/html"]
    assert "make lab" in data_of(page, "widget")["text/html"]


def test_a_picture_keeps_its_text(page):
    assert 'alt="64 buckets"' in data_of(page, "figure")["text/html"]


def test_the_state_of_an_exercise_is_seen_and_escaped(page):
    assert data_of(page, "exercise")["text/html"] == (
        '<pre class="check not-tried-yet">row: not &lt;tried&gt; yet</pre>'
    )


@pytest.mark.parametrize(("tag", "label"), [("check", "is checked"), ("solution", "Solution")])
def test_checks_and_solutions_are_folded_and_the_exercise_is_not(page, tag, label):
    cell = sample.find(page, tag)
    assert "hide-cell" in cell.metadata["tags"]
    assert label in cell.metadata["mystnb"]["code_prompt_show"]
    assert sample.find(page, "exercise").metadata["tags"] == ["exercise"]


def test_hidden_code_is_folded():
    notebook = executed()
    notebook.cells[4].metadata["jupyter"] = {"source_hidden": True}
    page = notebook_page(entry(notebook), "")
    assert "hide-input" in page.cells[4].metadata["tags"]


def test_the_last_line_names_time_memory_and_machine(page):
    assert "Ran in 3 s with at most 1,024 MiB of memory. 2 CPUs." in page.cells[-1].source


def test_a_notebook_that_has_not_run_says_so():
    first = notebook_page(entry(sample.build()), "").cells[0].source
    assert first.startswith("# Sharing rows")
    assert "has not run" in first
    assert first.endswith(sample.HEADER.partition("\n\n")[2])


def test_the_source_notebook_stays_as_it_was(page):
    notebook = executed()
    before = nbformat.writes(notebook)
    notebook_page(entry(notebook, seconds=1.0, peak_rss_bytes=1), "")
    assert nbformat.writes(notebook) == before


def test_a_failure_shows_its_error_in_a_fence_that_holds():
    text = failed_page(BAD)
    assert text.startswith("# 04_codes (failed)")
    assert "`````text\nTraceback ```` v\n`````" in text


def test_results_are_spelled_with_their_precision():
    (row,) = result_rows([GOOD, BAD])
    assert list(row.values()) == [
        *("03_memcom", "memcom(bias)", "1,234,567", "16.0", "16", "0.2812", "-4.1 %"),
    ]
    unknown = {**ROW, "ndcg_at_10": None, "loss_percent": None, "ratio_asked": None}
    (row,) = result_rows([RunResult("03_memcom", HEADER, None, 1.0, 1, results=[unknown])])
    assert [row[name] for name in ("asked", "nDCG@10", "loss")] == ["–", "–", "–"]


def test_the_report_ends_with_a_line_a_notebook():
    lines = summarise_runs([GOOD, BAD]).splitlines()
    assert lines[-2].split() == ["03_memcom", "61", "s", "500", "MiB", "ok"]
    assert lines[-1].split() == ["04_codes", "–", "–", "FAILED"]
    assert "method" not in summarise_runs([BAD])


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([GOOD], "Every notebook ran to its end"),
        ([GOOD, BAD], "1 of 2 notebooks failed: 04_codes."),
        ([RunResult("05_x", HEADER, None)], "1 of 1 notebooks have not run here"),
    ],
)
def test_contents_say_how_the_run_went(entries, said):
    text = index_page(entries, "2 CPUs")
    assert said in text
    assert ("Every notebook ran" in text) == (entries == [GOOD])
    assert all(f"]({entry.name})" in text for entry in entries)


def test_pages_of_an_earlier_run_go(tmp_path):
    (tmp_path / "09_old.ipynb").write_text("{}")
    collect([entry(executed(), seconds=1.0, peak_rss_bytes=1), BAD], "", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("index.md", "00_sample.ipynb", "04_codes.md"),
    }
