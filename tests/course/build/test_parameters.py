"""The parameters cell, read and checked without running it."""

from __future__ import annotations

import pytest

pytest.importorskip("nbformat")

from memcom.course.build.parameters import Parameter, check_parameters, declared_parameters
from tests.course.build import sample


def test_parameters_are_read_with_type_default_and_line():
    source = "A: int = 3  # one\n\nB: list[float] = [1.0,\n  -2.5]\nC = None"
    assert declared_parameters(source) == [
        Parameter("A", "int", 3, 1),
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
