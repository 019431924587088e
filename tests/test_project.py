"""The project holds together: imports run downward, files that repeat each other agree."""

from __future__ import annotations

import ast
import collections
import graphlib
import importlib
import json
import pkgutil
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import memcom

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]

# Top to bottom; a module may import from its own line and from those below.
ROOMS = (
    ("cli", "doctor", "__main__"),
    ("course",),
    ("advice",),
    ("sweep",),
    ("tasks",),
    ("plots",),
    ("collisions", "profiling"),
    ("budget", "compression", "export", "optim"),
    ("embeddings",),
    ("kernels",),
    ("data",),
    ("addresses",),
    ("_annotations", "_check", "_extras", "_files", "_text", "_old_names"),
)
LEVEL = {room: -depth for depth, rooms in enumerate(ROOMS) for room in rooms}
# The package itself re-exports the planner and the layers.
LEVEL[""] = LEVEL["budget"]


# --- rooms ----------------------------------------------------------------------------------------


def imported_rooms(source: str, package: str) -> Iterator[tuple[str, int]]:
    """The rooms of memcom that a module of `package` imports, with the line; "" is memcom."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - node.level + 1] + [base] * bool(base))
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "memcom":
                room = rest.partition(".")[0]
                yield (room if room in LEVEL else ""), node.lineno


def upward(source: str, module: str) -> list[str]:
    room = module.split(".")[1]
    package = module.rpartition(".")[0]
    return [
        f"{module}:{line} imports memcom.{other}".rstrip(".")
        for other, line in imported_rooms(source, package)
        if LEVEL[other] > LEVEL[room]
    ]


def test_every_room_is_known() -> None:
    rooms = {
        path.stem
        for path in (ROOT / "memcom").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} <= set(LEVEL)


def test_imports_run_downward() -> None:
    found = []
    for path in sorted((ROOT / "memcom").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != ("memcom", "__init__"):
            found += upward(path.read_text(encoding="utf-8"), ".".join(parts))
    assert found == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from memcom.plots import show", "memcom.data.movielens"),
        ("def f():\n    from memcom import tasks", "memcom.collisions.buckets"),
        ("import memcom.budget", "memcom.embeddings.memcom"),
        ("from memcom import build", "memcom.kernels.plain"),
        ("from .. import budget", "memcom.embeddings.memcom"),
        ("from ..budget import plan", "memcom.embeddings.memcom"),
    ],
)
def test_an_upward_import_is_seen(source: str, module: str) -> None:
    assert len(upward(source, module)) == 1


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from memcom.embeddings import get", "memcom.budget"),
        ("from memcom.embeddings._arguments import Sizes", "memcom.embeddings.memcom"),
        ("from ._arguments import Sizes", "memcom.embeddings.memcom"),
        ("import memcom\nimport numpy", "memcom.cli"),
    ],
)
def test_a_downward_import_passes(source: str, module: str) -> None:
    assert upward(source, module) == []


def modules() -> dict[str, Path]:
    """Every module of memcom by its dotted name."""
    found = {}
    for path in (ROOT / "memcom").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def test_there_are_few_rooms() -> None:
    """A line of the map in README.md is a room; the command's modules are one."""
    command, *others, _private = ROOMS
    assert "cli" in command
    assert 1 + sum(len(rooms) for rooms in others) <= 16


def test_imports_make_no_circle() -> None:
    """Between modules; a package's own `__init__`, which only gathers names, is left out."""
    known = modules()
    needs: dict[str, set[str]] = {}
    for name, path in known.items():
        if path.name == "__init__.py":
            continue
        found = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = [node for node in tree.body if isinstance(node, ast.If)]  # TYPE_CHECKING
        skipped = {id(inner) for node in for_types for inner in ast.walk(node)}
        for node in ast.walk(tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if inner in known else node.module)
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        plain = {other for other in found & set(known) if known[other].name != "__init__.py"}
        needs[name] = plain - {name}
    graphlib.TopologicalSorter(needs).prepare()  # raises CycleError, which names the circle


def test_no_docstring_opens_with_a_riddle() -> None:
    """Its first line says what a thing is or does: a noun phrase or an imperative."""
    riddle = re.compile(r"(What|Whether|Who|Where|Why|Which|How)\b")
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = []
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kinds) and riddle.match(ast.get_docstring(node) or ""):
                found.append(f"{path.relative_to(ROOT)}: {ast.get_docstring(node)}".split("\n")[0])
    assert found == []


SAME_NAME = {"load"}  # memcom.data.load reads a data set, memcom.export.load a saved layer


def test_no_two_rooms_export_different_things_under_one_name() -> None:
    homes = collections.defaultdict(set)
    for module in pkgutil.iter_modules(memcom.__path__):
        if module.name.startswith("_") or module.name in ("cli", "doctor"):
            continue
        room = importlib.import_module(f"memcom.{module.name}")
        for name, value in vars(room).items():
            home = getattr(value, "__module__", None) or ""
            ours = f"{home}.".startswith(f"{room.__name__}.")
            if ours and getattr(value, "__qualname__", "") == name:  # not an alias of another name
                homes[name].add(f"{home}.{value.__qualname__}")
    twice = {name: sorted(where) for name, where in homes.items() if len(where) > 1}
    assert {n: w for n, w in twice.items() if n not in SAME_NAME} == {}


# --- import memcom --------------------------------------------------------------------------------

_IMPORT = """
import sys, time, torch
before, start = set(sys.modules), time.process_time()
import memcom
seconds = time.process_time() - start
heavy = {"matplotlib", "pandas", "ipywidgets", "seaborn", "papermill", "IPython", "scipy"}
print(seconds, *sorted(heavy & (set(sys.modules) - before)))
"""


def test_import_memcom_is_light() -> None:
    lines = [
        subprocess.run(
            [sys.executable, "-c", _IMPORT], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert [line[1:] for line in lines] == [[], [], []]
    assert statistics.median(float(line[0]) for line in lines) < 0.3


def imported_names() -> dict[str, str]:
    """Name -> module of the imports that only type checkers see; the layers' is "*"."""
    tree = ast.parse((ROOT / "memcom" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_type_checkers_and_python_find_the_same_names() -> None:
    typed = imported_names()
    assert typed.pop("*") == memcom._LAYERS
    assert typed == memcom._HOMES
    for name, home in typed.items():
        assert getattr(memcom, name) is getattr(importlib.import_module(home), name)


def test_every_registered_layer_is_at_the_top() -> None:
    for method in memcom.available():
        layer = memcom.get(method)
        assert getattr(memcom, layer.__name__) is layer


def test_dir_shows_names_and_rooms_and_no_machinery() -> None:
    shown = [name for name in dir(memcom) if not name.startswith("__")]
    assert {"build", "MEmComEmbedding", "data", "collisions", "sweep", "export"} <= set(shown)
    assert not [name for name in shown if name.startswith("_")]
    assert not {"Any", "TYPE_CHECKING", "importlib", "pkgutil", "annotations"} & set(shown)
    for name in shown:
        getattr(memcom, name)


def test_a_star_import_brings_the_names() -> None:
    scope: dict[str, Any] = {}
    exec("from memcom import *", scope)
    assert set(scope) - {"__builtins__"} == set(memcom.__all__)
    assert scope["QREmbedding"] is memcom.QREmbedding
    assert {"build", "recommend"} <= set(scope)
    assert "data" not in scope


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'memcom' has no attribute 'bild'"):
        memcom.bild  # noqa: B018
    assert not hasattr(memcom, "__wrapped__")


# --- what is needed -------------------------------------------------------------------------------

EXTRAS = PROJECT["project"]["optional-dependencies"]
NOT_IN_CONDA = ("cluster", "browser", "frameworks")  # they bring machinery of their own
IMPORT_NAMES = {"IPython": "ipython", "sklearn": "scikit-learn"}
IMPORT_NAMES |= {"yaml": "pyyaml"}
IMPORT_NAMES |= {"cycler": "matplotlib", "llvmlite": "numba"}  # each is a part of the other
IMPORT_NAMES |= {"triton": "torch"}  # comes with torch for CUDA, and is used only where it is


def bounds(lines: list[str]) -> dict[str, str]:
    """Distribution -> lower bound, as PyPI names them; the kit itself left out."""
    requirements = [Requirement(line) for line in lines]
    return {
        canonicalize_name({"pytorch": "torch"}.get(r.name, r.name)): str(r.specifier)
        for r in requirements
        if r.name != "memcom-kit"
    }


def needed(*without: str) -> dict[str, str]:
    lines = list(PROJECT["project"]["dependencies"])
    for extra, more in EXTRAS.items():
        if extra not in without:
            lines += more
    return bounds(lines)


def conda_lines() -> tuple[list[str], list[str]]:
    """The conda lines and the pip lines of environment.yml."""
    lines = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
    (pip,) = (line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict))
    return lines, pip


def test_environment_yml_equals_pyproject() -> None:
    conda, pip = conda_lines()
    found = bounds(conda + [line for line in pip if line != "-e ."])
    assert found.pop("python") == PROJECT["project"]["requires-python"]
    assert found.pop("pip") == ""
    assert found == needed(*NOT_IN_CONDA)


def test_environment_yml_solves_anywhere() -> None:
    """Channels, order, lower bounds, a word on each line: what keeps such files alive."""
    conda, pip = conda_lines()
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]
    assert pip[-1] == "-e ."
    for lines in (conda, pip[:-1]):
        assert lines == sorted(lines, key=lambda line: re.split("[>=]", line)[0])
        for line in lines:
            assert re.fullmatch(r"[a-z0-9-]+([>=]=[0-9.]+)?", line), line
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    bare = [x for x in re.findall(r"^ +- ([a-z].*)$", text, re.M) if "#" not in x]
    assert bare == ["conda-forge", "nodefaults", "python>=3.11", "pip:"]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_constraints_pin_each_direct_dependency_once(python: str) -> None:
    pins: dict[str, str] = {}
    for requirement in CONSTRAINTS:
        if not requirement.marker or requirement.marker.evaluate({"python_version": python}):
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            assert requirement.name not in pins
            pins[requirement.name] = pin.version
    lower = needed()
    assert set(pins) == set(lower)
    for name, version in pins.items():
        assert Version(version) in Requirement(f"{name}{lower[name]}").specifier, name


def test_all_holds_every_extra() -> None:
    (line,) = EXTRAS["all"]
    assert Requirement(line).extras == set(EXTRAS) - {"all"}


def code_of(path: Path) -> str:
    """The Python of a file; of a notebook without its magics."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join("" if re.match(r"\s*[%!]", line) else line for line in lines)


def third_party(code: str) -> set[str]:
    """The distributions that a piece of code imports, also inside functions."""
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add((node.module or "").partition(".")[0])
    own = {"memcom", "benchmarks", "experiments", "tests", "__future__", *sys.stdlib_module_names}
    return {canonicalize_name(IMPORT_NAMES.get(name, name)) for name in modules - own}


def test_every_import_is_declared() -> None:
    declared = set(needed())
    undeclared = {}
    for path in [*(ROOT / "memcom").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *NOTEBOOKS]:
        if missing := third_party(code_of(path)) - declared:
            undeclared[str(path.relative_to(ROOT))] = missing
    assert undeclared == {}


def test_an_undeclared_import_is_seen() -> None:
    code = "import os\ndef f():\n    import requests_cache.x\nfrom sklearn.svm import SVC"
    assert third_party(code) - set(needed()) == {"requests-cache"}


# --- make -----------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("target", "job"),
    [
        ("run", "-m memcom run --site site"),
        ("test", "-m pytest"),
        ("lab", "-m jupyterlab"),
        ("site", "-m memcom site"),
        ("lint", "-m ruff format --check"),
        ("setup", "-m memcom.doctor"),
    ],
)
def test_make_prepares_and_then_does_its_job(target: str, job: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    plan = subprocess.run(
        ["make", "--dry-run", target], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    steps = [plan.find(step) for step in ("-m venv", "pip install --quiet -c constraints.txt", job)]
    assert -1 not in steps
    assert steps == sorted(steps)
    assert not (tmp_path / ".venv").exists()


# --- the community's files ------------------------------------------------------------------------

GITHUB = sorted((ROOT / ".github").rglob("*.yml"))


@pytest.mark.parametrize("path", [*GITHUB, ROOT / "CITATION.cff"], ids=lambda path: path.name)
def test_yaml_is_read(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_workflow_calls_what_exists() -> None:
    """Each step is a target of the Makefile, a script, or pip and pytest with known extras."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = [step["run"].split() for step in steps if "run" in step]
    assert {tuple(words[:2]) for words in commands if words[0] == "make"} == {
        *(("make", "lint"), ("make", "setup"), ("make", "test"), ("make", "run")),
    }
    for words in commands:
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M), words
        elif words[0] == "bash":
            assert (ROOT / words[1]).is_file()
        else:
            assert words[:2] == ["python", "-m"]
            for extras in re.findall(r"\.\[(.*?)\]", words[-1]):
                assert set(extras.split(",")) <= set(EXTRAS)
    pythons = {
        python
        for job in ("test", "other-systems")
        for python in workflow["jobs"][job]["strategy"]["matrix"]["python"]
    }
    assert {"3.11", "3.12", "3.13", "3.14"} <= pythons


def test_issue_forms_have_what_the_site_needs() -> None:
    forms = [path for path in GITHUB if "ISSUE" in str(path) and path.stem != "config"]
    assert {path.stem for path in forms} == {"bug", "figure", "compressor"}
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(form)
        for field in form["body"]:
            assert field["type"] in {"input", "textarea", "checkboxes"}
            assert field["attributes"]["label"]


def test_citation_names_the_kit_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    (paper,) = citation["references"]
    assert paper["title"] == "Learning Compressed Embeddings for On-Device Inference"
    assert paper["url"].endswith("2203.10135")
    assert len(paper["authors"]) == 7


def test_the_dev_container_calls_make() -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    assert json.loads(text)["postCreateCommand"] == "make setup"


# --- documents and what git holds -----------------------------------------------------------------


def test_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert memcom.__version__ == version
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[^]]*)\]", changelog, re.M)[0] == version


def test_readme_names_the_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("make run", "make test", "make lab", "memcom doctor"):
        assert command in text
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_contributing_points_at_real_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:memcom|tests|data)/[\w/]+\.(?:py|toml))`", text))
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).is_file()] == []


# Folders of one machine, and hosts that only tell where somebody's packages came from.
PRIVATE = re.compile(
    r"(?<![\w.$}])/(?:home|Users|root|work|opt|mnt)/\w"
    r"|\b(?:pypi|conda\.anaconda|repo\.anaconda)\.(?:org|com)\b"
    r"|pythonhosted\.org|download\.pytorch\.org|registry\.npmjs",
)


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_git_holds_nothing_of_one_machine() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in PRIVATE.finditer(text)]
    assert found == []


@pytest.mark.parametrize("user", ["/home/" + "ann/x.py", "see /work/" + "main", "pypi" + ".org"])
def test_traces_of_a_machine_are_seen(user: str) -> None:
    assert PRIVATE.search(user)


def test_git_holds_no_data_and_nothing_large() -> None:
    names = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked()}
    assert [name for name, size in names.items() if size > 1_000_000] == []
    data = re.compile(r"\.(pkl|npz|npy|zip|gz|xz|parquet|dat|inter|safetensors|onnx)$")
    assert [name for name in names if data.search(name)] == []
    assert {n for n in names if n.startswith("data/")} <= {"data/registry.toml", "data/README.md"}


def faults(notebook: dict[str, Any]) -> list[str]:
    """What a notebook must not carry in git."""
    found = []
    for number, cell in enumerate(notebook["cells"]):
        if cell.get("outputs"):
            found.append(f"cell {number} has outputs")
        if cell.get("execution_count") is not None:
            found.append(f"cell {number} has a count")
    if "widgets" in notebook["metadata"]:
        found.append("widget state")
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is not python3")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_clean(path: Path) -> None:
    assert faults(json.loads(path.read_text(encoding="utf-8"))) == []


def test_a_notebook_that_ran_is_seen() -> None:
    cell = {"cell_type": "code", "outputs": [{"text": "1"}], "execution_count": 1}
    notebook = {"cells": [cell], "metadata": {"widgets": {}, "kernelspec": {"name": "venv"}}}
    assert len(faults(notebook)) == 4
