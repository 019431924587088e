"""The whole course: run, published all or none, failures marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("papermill")
pytest.importorskip("myst_nb")

from click.testing import CliRunner

from memcom.cli import main
from memcom.course import CourseError, rebuild, run_course, summarise_runs
from memcom.course.build.site import find
from tests.course.build import sample

pytestmark = pytest.mark.slow

CONF = """\
import sys
sys.path.insert(0, {extensions!r})
extensions = ["myst_nb", "standalone", "mathml"]
nb_execution_mode = "off"
nb_ipywidgets_js = {{}}
myst_enable_extensions = ["dollarmath", "colon_fence"]
html_theme = "basic"
html_math_renderer = "mathml"
"""
EXTENSIONS = Path(__file__).resolve().parents[3] / "docs" / "_ext"


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def make(root: Path, **notebooks):
    """A checkout in small: notebooks, and a documentation of the course alone."""
    for name, notebook in notebooks.items():
        sample.write(root / "notebooks", notebook, name.removeprefix("nb"))
    (root / "docs").mkdir()
    (root / "docs" / "conf.py").write_text(CONF.format(extensions=str(EXTENSIONS)))
    (root / "docs" / "index.md").write_text("# Docs\n\n```{toctree}\ncourse/index\n```\n")
    return {"site": root / "site", "folder": root / "notebooks", "docs": root / "docs"}


def broken():
    notebook = sample.build()
    notebook.cells[0].source = notebook.cells[0].source.replace("Sharing rows", "Broken rows")
    notebook.cells[2].source += "\nraise ZeroDivisionError('planted')"
    return notebook


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of two notebooks, run; gives its root."""
    root = tmp_path_factory.mktemp("course")
    # a draft has no number: it is not part of the course
    places = make(root, nb00_sample=None, nb01_again=None, draft=None)
    runs = run_course(**places, progress=False)
    assert [run.name for run in runs] == ["00_sample", "01_again"]
    assert all(set(run.checks.values()) == {"passed"} for run in runs)
    (root / "summary.txt").write_text(summarise_runs(runs))
    return root


def again(course, **options):
    places = {"site": course / "site", "folder": course / "notebooks", "docs": course / "docs"}
    return rebuild(**{**places, **options})


def test_every_notebook_has_a_page_and_the_contents_list_it(course):
    index = text(course / "site" / "course" / "index.html")
    for name in ("00_sample", "01_again"):
        assert f'href="{name}.html"' in index
        assert 'alt="64 buckets"' in text(course / "site" / "course" / f"{name}.html")
    assert "draft" not in index
    assert "How many ids share a row" in index
    assert "MiB" in index
    assert "1,000" in index
    assert "10.0 %" in index
    assert "failed" not in index


def test_a_page_has_formulas_notes_and_no_script_of_a_widget(course):
    page = text(course / "site" / "course" / "00_sample.html")
    assert page.count("<math") == 3
    assert "bmod" not in page
    assert "make lab" in page
    assert "jupyter.widget" not in page


def test_nothing_is_left_beside_the_site_or_the_notebooks(course):
    assert sorted(entry.name for entry in course.iterdir()) == [
        *("docs", "notebooks", "site", "summary.txt"),
    ]
    assert sorted(entry.suffix for entry in (course / "notebooks").iterdir()) == [".ipynb"] * 3


def test_the_summary_lists_every_result(course):
    lines = text(course / "summary.txt").splitlines()
    assert lines[0].split() == [
        *("notebook", "method", "bytes", "ratio", "asked", "nDCG@10", "loss"),
    ]
    cells = [line.split() for line in lines[1:3]]
    assert cells[0] == ["00_sample", "full", "4,000", "1.0", "–", "0.3000", "0.0", "%"]
    assert cells[1] == ["00_sample", "hash", "1,000", "4.0", "4", "0.2700", "10.0", "%"]


def test_pages_can_be_written_again_without_a_run(course, monkeypatch):
    monkeypatch.setattr("memcom.course.build.site.run_notebook", None)
    page = course / "site" / "course" / "00_sample.html"
    page.write_text("spoiled")
    assert again(course) == course / "site" / "index.html"
    assert 'alt="64 buckets"' in text(page)


def test_without_a_run_the_pages_have_no_outputs_and_say_so(course, tmp_path):
    front = again(course, site=tmp_path / "site")
    page = text(front.parent / "course" / "00_sample.html")
    assert "has not run" in page
    assert "<img" not in page
    assert "2 of 2 notebooks have not run" in text(front.parent / "course" / "index.html")


def test_without_documentation_the_run_is_kept(course, tmp_path):
    options = {"folder": course / "notebooks", "docs": tmp_path / "docs", "progress": False}
    run_course(["00"], site=tmp_path / "site", **options)
    assert sorted(entry.name for entry in (tmp_path / "site").iterdir()) == ["executed", "run.json"]
    with pytest.raises(FileNotFoundError, match="no documentation in"):
        again(course, docs=tmp_path / "docs")


def test_a_failure_is_marked_told_and_stops_nobody_else(tmp_path):
    places = make(tmp_path, nb00_broken=broken(), nb01_sample=None)
    options = [f"--{name}={place}" for name, place in places.items()]
    outcome = CliRunner().invoke(main, ["run", *options])
    assert outcome.exit_code == 1
    assert "ZeroDivisionError: planted" in outcome.output
    assert "FAILED" in outcome.output
    site = tmp_path / "site"
    assert "1 of 2 notebooks failed: Broken" in text(site / "course" / "index.html")
    failed = text(site / "course" / "00_broken.html")
    assert "Broken rows" in failed
    assert "ZeroDivisionError: planted" in failed
    assert "<img" in text(site / "course" / "01_sample.html")
    assert not (site / "executed" / "00_broken.ipynb").exists()


def test_a_picture_without_a_text_fails_the_build(tmp_path):
    notebook = sample.build()
    picture = sample.find(notebook, "figure")
    picture.source = picture.source.replace(' alt="64 buckets"', "")
    places = make(tmp_path, nb00_sample=notebook)
    with pytest.raises(CourseError, match="no alternative text") as caught:
        run_course(**places, progress=False)
    assert list(caught.value.failures) == ["documentation"]
    assert (tmp_path / "site" / "executed" / "00_sample.ipynb").exists()


def test_a_folder_with_other_things_in_it_is_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("memcom.course.build.site.run_notebook", None)
    sample.write(tmp_path / "notebooks")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds something else"):
        run_course(site=tmp_path / "site", folder=tmp_path / "notebooks", progress=False)
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
        again(course)
    assert {entry.name for entry in (course / "site").iterdir()} == before
    assert sorted(entry.name for entry in course.iterdir()) == [
        *("docs", "notebooks", "site", "summary.txt"),
    ]


def test_notebooks_are_found_by_the_beginning_of_their_names(course):
    folder = course / "notebooks"
    assert [path.stem for path in find(None, folder)] == ["00_sample", "01_again"]
    assert [path.stem for path in find(["01"], folder)] == ["01_again"]
    with pytest.raises(FileNotFoundError, match=r"no notebook '07' .* 00_sample, 01_again"):
        find(["07"], folder)
    with pytest.raises(FileNotFoundError, match=r"there: none"):
        find(None, course / "nowhere")


def test_the_command_runs_lints_and_cleans_one_notebook(tmp_path):
    path = str(sample.write(tmp_path))
    runner = CliRunner()
    outcome = runner.invoke(main, ["run", path, "-p", "NUM_IDS", "7", "--solutions"])
    assert outcome.exit_code == 0, outcome.output
    assert "num_ids = 7" in outcome.output
    assert "exercise rows: passed" in outcome.output
    assert json.loads(outcome.output.split("result ")[1].splitlines()[0])["nbytes"] == 28
    for name, value in (("NUM", "7"), ("NUM_IDS", "x")):
        wrong = runner.invoke(main, ["run", path, "-p", name, value])
        assert wrong.exit_code == 2
        assert name in wrong.output
    assert runner.invoke(main, ["run", path, "00"]).exit_code == 2
    assert runner.invoke(main, ["lint", path]).exit_code == 0
    notebook = sample.build()
    notebook.cells[2].execution_count = 1
    path = str(sample.write(tmp_path, notebook))
    assert "traces of a run" in runner.invoke(main, ["lint", path]).output
    assert "cleaned" in runner.invoke(main, ["clean", path]).output
    assert runner.invoke(main, ["lint", path]).output == ""
