"""The whole course: run, published all or none, failures marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("bs4")
pytest.importorskip("papermill")
pytest.importorskip("latex2mathml")

import bs4
from click.testing import CliRunner

from memcom.course import CourseError, rebuild, report, run_all
from memcom.course.build.commands import main
from memcom.course.build.site import find
from tests.course.build import sample

pytestmark = pytest.mark.slow


def page(path: Path):
    return bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def broken():
    notebook = sample.build()
    notebook.cells[0].source = notebook.cells[0].source.replace("Sharing rows", "Broken <rows>")
    notebook.cells[2].source += "\nraise ZeroDivisionError('planted')"
    return notebook


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of two notebooks, run; gives its root."""
    root = tmp_path_factory.mktemp("course")
    sample.write(root / "notebooks", name="00_sample")
    sample.write(root / "notebooks", name="01_again")
    sample.write(root / "notebooks", name="draft")  # no number: not part of the course
    results = run_all(site=root / "site", folder=root / "notebooks", progress=False)
    assert [result.name for result in results] == ["00_sample", "01_again"]
    assert all(set(result.checks.values()) == {"passed"} for result in results)
    return root


def test_every_notebook_has_a_page_and_the_contents_list_it(course):
    index = page(course / "site" / "index.html")
    rows = index.find("table", class_="course").tbody("tr")
    assert [row.a["href"] for row in rows] == ["00_sample.html", "01_again.html"]
    assert "How many ids share a row" in rows[0].text
    assert "MiB" in rows[0].text
    assert all((course / "site" / row.a["href"]).exists() for row in rows)
    assert not (course / "site" / "draft.html").exists()
    text = index.text
    assert "1,000" in text
    assert "10.0 %" in text
    assert "failed" not in index.find("p", class_="status")["class"]


def test_pages_lead_on_and_back(course):
    first, second = (page(course / "site" / f"{name}.html") for name in ("00_sample", "01_again"))
    assert first.find("a", rel="prev") is None
    assert first.find("a", rel="next")["href"] == "01_again.html"
    assert second.find("a", rel="prev")["href"] == "00_sample.html"
    assert [image["alt"] for image in first("img")] == ["64 buckets"]


def test_nothing_is_left_beside_the_site_or_the_notebooks(course):
    assert sorted(entry.name for entry in course.iterdir()) == ["notebooks", "site"]
    assert sorted(entry.suffix for entry in (course / "notebooks").iterdir()) == [".ipynb"] * 3


def test_the_report_lists_every_result(course):
    lines = report(course / "site").splitlines()
    assert lines[0].split() == [
        *("Notebook", "Method", "Bytes", "Ratio", "Asked", "nDCG@10", "Loss"),
    ]
    cells = [line.split() for line in lines[2:4]]
    assert cells[0] == ["00_sample", "full", "4,000", "1.0", "–", "0.3000", "0.0", "%"]
    assert cells[1] == ["00_sample", "hash", "1,000", "4.0", "4", "0.2700", "10.0", "%"]


def test_pages_can_be_written_again_without_a_run(course, monkeypatch):
    monkeypatch.setattr("memcom.course.build.site.run", None)
    before = (course / "site" / "00_sample.html").read_text()
    (course / "site" / "00_sample.html").write_text("spoiled")
    assert rebuild(course / "site") == course / "site" / "index.html"
    assert (course / "site" / "00_sample.html").read_text() == before


def test_a_failure_is_marked_told_and_stops_nobody_else(tmp_path):
    sample.write(tmp_path / "notebooks", broken(), "00_broken")
    sample.write(tmp_path / "notebooks", name="01_sample")
    site = tmp_path / "site"
    options = ["site", "--site", str(site), "--folder", str(tmp_path / "notebooks")]
    outcome = CliRunner().invoke(main, options)
    assert outcome.exit_code == 1
    assert "ZeroDivisionError: planted" in outcome.output
    assert "1 of 2 notebooks failed: 00_broken" in outcome.output
    assert "FAILED" in outcome.output
    index = page(site / "index.html")
    assert "1 of 2 notebooks failed" in index.find("p", class_="failed").text
    failed = page(site / "00_broken.html")
    assert failed.h1.text.startswith("Broken <rows>")
    assert "ZeroDivisionError: planted" in failed.find("pre", class_="error").text
    assert page(site / "01_sample.html").find("img") is not None
    assert not (site / "executed" / "00_broken.ipynb").exists()


def test_a_page_that_cannot_be_whole_is_a_failure(tmp_path):
    notebook = sample.build()
    picture = sample.find(notebook, "figure")
    picture.source = picture.source.replace(' alt="64 buckets"', "")
    sample.write(tmp_path / "notebooks", notebook)
    with pytest.raises(CourseError, match="no alternative text") as caught:
        run_all(site=tmp_path / "site", folder=tmp_path / "notebooks", progress=False)
    assert caught.value.results == []
    assert "failed" in page(tmp_path / "site" / "00_sample.html").title.text


def test_a_folder_with_other_things_in_it_is_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("memcom.course.build.site.run", None)
    sample.write(tmp_path / "notebooks")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds something else"):
        run_all(site=tmp_path / "site", folder=tmp_path / "notebooks", progress=False)
    assert (tmp_path / "site" / "thesis.txt").read_text() == "years of work"


def test_an_interrupted_swap_leaves_the_old_site(course, monkeypatch):
    import os

    before = {entry.name for entry in (course / "site").iterdir()}
    rename = os.rename

    def failing(source, target):
        if Path(target).name == "site" and "-old-" not in str(source):
            raise OSError("planted")
        rename(source, target)

    monkeypatch.setattr("os.rename", failing)
    with pytest.raises(OSError, match="planted"):
        rebuild(course / "site")
    assert {entry.name for entry in (course / "site").iterdir()} == before
    assert sorted(entry.name for entry in course.iterdir()) == ["notebooks", "site"]


def test_notebooks_are_found_by_the_beginning_of_their_names(course):
    folder = course / "notebooks"
    assert [path.stem for path in find(None, folder)] == ["00_sample", "01_again"]
    assert [path.stem for path in find(["01"], folder)] == ["01_again"]
    with pytest.raises(FileNotFoundError, match=r"no notebook '07' .* 00_sample, 01_again"):
        find(["07"], folder)
    with pytest.raises(FileNotFoundError, match=r"there: none"):
        find(None, course / "nowhere")


def test_rebuild_needs_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the course first"):
        rebuild(tmp_path / "site")


def test_the_command_runs_lints_and_cleans_one_notebook(tmp_path):
    path = str(sample.write(tmp_path))
    runner = CliRunner()
    outcome = runner.invoke(main, ["run", path, "-p", "NUM_IDS", "7", "--solutions"])
    assert outcome.exit_code == 0, outcome.output
    assert "num_ids = 7" in outcome.output
    assert "exercise rows: passed" in outcome.output
    assert json.loads(outcome.output.split("result ")[1].splitlines()[0])["nbytes"] == 28
    wrong = runner.invoke(main, ["run", path, "-p", "NUM", "7"])
    assert wrong.exit_code == 1
    assert "no parameter 'NUM'" in wrong.output
    assert runner.invoke(main, ["lint", path]).exit_code == 0
    notebook = sample.build()
    notebook.cells[2].execution_count = 1
    path = str(sample.write(tmp_path, notebook))
    assert "execution count" in runner.invoke(main, ["lint", path]).output
    assert "cleaned" in runner.invoke(main, ["clean", path]).output
    assert runner.invoke(main, ["lint", path]).output == ""
