"""The parameters cell, read and checked without running it."""

from __future__ import annotations

import pytest

pytest.importorskip("nbformat")

from memcom._files import shipped
from memcom.course import profile
from memcom.course.build import parameters as parameters_module
from memcom.course.build.notebook import tagged
from memcom.course.build.parameters import Parameter, check_parameters, declared_parameters
from tests.course.build import sample


def test_parameters_are_read_with_type_default_and_line():
    source = "A: int = 3  # one\n\nB: list[float] = [1.0,\n  -2.5]\nC = None"
    assert declared_parameters(source) == [
        Parameter("A", "int", 3, 1, "one"),
        Parameter("B", "list[float]", [1.0, -2.5], 3),
        Parameter("C", "", None, 5),
    ]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("A = 1\nprint(A)", "line 2 is no assignment"),
        ("A = B = 1", "line 1 is no assignment"),
        ("A: int = 2 * 3", "line 1: A is no literal"),
        ("import os", "line 1 is no assignment"),
    ],
)
def test_a_parameters_cell_holds_literals_only(source, fault):
    with pytest.raises(ValueError, match=fault):
        declared_parameters(source)


def test_parameters_fit_their_annotations():
    notebook = sample.build()
    check_parameters(notebook, "sample", {"PROFILE": "full", "NUM_IDS": 3})
    check_parameters(notebook, "sample", {})
    sample.find(notebook, "parameters").source = "RATE: float = 0.5\nSEEDS: tuple[int, ...] = (0,)"
    check_parameters(notebook, "sample", {"RATE": 1, "SEEDS": [0, 1]})
    with pytest.raises(TypeError, match=r"SEEDS must be tuple\[int, \.\.\.\], not 3"):
        check_parameters(notebook, "sample", {"SEEDS": 3})


def test_parameters_need_their_cell():
    notebook = sample.build()
    notebook.cells.remove(sample.find(notebook, "parameters"))
    with pytest.raises(ValueError, match="0 cells tagged 'parameters', not 1"):
        check_parameters(notebook, "sample", {"NUM_IDS": 3})


CELL = """PROFILE: str = "fast"  # sizes of everything: "fast" or "full"
SEED: int = 0  # seed of every random choice, 0 or more
RATIO: float = 8.0  # compression ratio of all methods, 2 to 16
SHIFT: float = 0  # shift, -1.5 to 1_000
TEXTS: str = "names"  # texts: "names" (offline) or "20newsgroups" (a download)
DEEP: bool = True  # whether to go deep
"""
OUTSIDE = [
    ("SEED", -3, "SEED must be >= 0, got -3"),
    ("RATIO", 1.99, "RATIO must be >= 2 and <= 16, got 1.99"),
    ("RATIO", 17, "RATIO must be >= 2 and <= 16, got 17"),
    ("RATIO", float("nan"), "RATIO must be .*nan"),
    ("RATIO", float("inf"), "RATIO must be .*inf"),
    ("SHIFT", -2, "SHIFT must be >= -1.5 and <= 1000, got -2"),
    ("TEXTS", "20news", "TEXTS must be one of 'names', '20newsgroups', got '20news'"),
    ("PROFILE", "quick", "PROFILE must be one of 'fast', 'full', got 'quick'"),
]


@pytest.mark.parametrize(("name", "value", "words"), OUTSIDE)
def test_a_value_out_of_the_range_in_the_comment_is_refused(name, value, words):
    notebook = sample.build()
    sample.find(notebook, "parameters").source = CELL
    with pytest.raises(ValueError, match=f"sample: {words}"):
        check_parameters(notebook, "sample", {name: value})


def test_the_ends_of_a_range_belong_to_it():
    notebook = sample.build()
    sample.find(notebook, "parameters").source = CELL
    for values in ({"SEED": 0, "RATIO": 2, "SHIFT": -1.5}, {"SEED": 10**9, "RATIO": 16.0}):
        check_parameters(notebook, "sample", values)
    check_parameters(notebook, "sample", {"TEXTS": "20newsgroups", "DEEP": False})


class Shell:
    """A kernel in which cells have run, with the values that they left."""

    def __init__(self, *cells: str, **values: object) -> None:
        self.user_ns = {"In": ["", *cells], **values}


@pytest.mark.parametrize(("name", "value", "words"), OUTSIDE)
def test_what_papermill_or_a_reader_sets_is_checked_in_the_kernel(monkeypatch, name, value, words):
    given = {"PROFILE": "fast", "SEED": 0, "RATIO": 8.0, "SHIFT": 0, "TEXTS": "names", "DEEP": True}
    shell = Shell(CELL, f"# Parameters\n{name} = {value!r}", **given)
    monkeypatch.setattr(parameters_module, "_shell", lambda: shell)
    assert profile("fast").name == "fast"
    shell.user_ns[name] = value
    with pytest.raises(ValueError, match=f"parameters cell: {words}"):
        profile("fast")
    shell.user_ns[name] = object()
    with pytest.raises(TypeError, match=f"{name} must be"):
        profile("fast")


def test_without_a_parameters_cell_nothing_is_checked(monkeypatch):
    shells = (None, Shell(), Shell("x = 1", "PROFILE: str = 3 *", "PROFILE: int = f(3)", SEED=-3))
    for shell in shells:
        monkeypatch.setattr(parameters_module, "_shell", lambda shell=shell: shell)
        assert profile("full").name == "full"


def test_every_notebook_states_ranges_that_are_read():
    import nbformat

    paths = sorted(shipped("notebooks").glob("*.ipynb"))
    assert len(paths) >= 11
    for path in paths:
        ((_, cell),) = tagged(nbformat.read(path, 4), "parameters")
        for parameter in declared_parameters(cell.source):
            assert parameter.choices or parameter.limits, (path.name, parameter)
            parameter.check(parameter.default, path.name)
