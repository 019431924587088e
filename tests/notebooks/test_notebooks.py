"""Every notebook of the course: clean and complete, and it runs, as student and with solutions."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("papermill")
pytest.importorskip("latex2mathml")

from memcom.notebook import RunResult, lint, run
from memcom.notebook.header import read_header
from memcom.notebook.pages import notebook_page
from memcom.notebook.source import read, tagged
from tests.notebooks.expectations import EXPECTATIONS

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
notebooks = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def execute(path: Path, **options: bool) -> RunResult:
    """Run in the fast profile; the file and its folder stay as they are."""
    before = path.read_bytes()
    files = {entry.name for entry in FOLDER.iterdir() if not entry.name.startswith(".")}
    result = run(path, {"PROFILE": "fast"}, **options)
    assert path.read_bytes() == before
    left = {entry.name for entry in FOLDER.iterdir() if not entry.name.startswith(".")} - files
    assert not {name for name in left if not name.endswith(".ipynb")}, f"left behind: {left}"
    return result


@notebooks
def test_the_file_is_clean_and_complete(path):
    assert lint(path) == []


@notebooks
@pytest.mark.slow
def test_as_a_student(path):
    """Runs with the exercises untouched; every control of every widget is moved."""
    result = execute(path, tour=True)
    assert result.checks, "no exercise answered"
    assert set(result.checks.values()) == {"not tried yet"}
    expect = EXPECTATIONS.get(path.stem)
    assert expect is not None, f"add {path.stem} to tests/notebooks/expectations.py"
    expect(result.recorded, result.results)
    widgets = result.notebook.metadata.get("widgets", {})
    state = widgets["application/vnd.jupyter.widget-state+json"]["state"]
    drawn = sum(entry["model_name"] == "OutputModel" for entry in state.values())
    assert drawn >= len(tagged(result.notebook, "widget"))


@notebooks
@pytest.mark.slow
def test_with_solutions_within_its_budget(path):
    """Every solution passes; time, memory and figures are what the notebook promises."""
    result = execute(path, solutions=True)
    assert len(result.checks) == len(tagged(read(path), "exercise"))
    assert set(result.checks.values()) == {"passed"}
    expect = EXPECTATIONS.get(path.stem)
    assert expect is not None, f"add {path.stem} to tests/notebooks/expectations.py"
    expect(result.recorded, result.results)

    budget = read(path).metadata["memcom"]
    assert result.seconds <= budget["seconds"]
    assert result.peak_rss_bytes <= budget["peak_mib"] * 2**20

    for index, cell in tagged(result.notebook, "figure"):
        html = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
        assert "<img" in html, f"figure cell {index} shows no picture"
    page = notebook_page(
        result.notebook,
        title=read_header(result.notebook).title,
        source=path,
        site=FOLDER.parent / "site",
        facts="",
    )
    assert page.count("<img") >= len(tagged(result.notebook, "figure"))


def test_expectations_are_of_notebooks_that_exist():
    assert set(EXPECTATIONS) <= {path.stem for path in PATHS}


@notebooks
def test_the_notebook_before_exists(path):
    """Each notebook but the first says which one comes before it, and it does."""
    before = read_header(read(path)).fields["Before this"]
    if path != PATHS[0]:
        earlier = [other.name for other in PATHS if other < path]
        assert any(f"]({name})" in before for name in earlier), before
