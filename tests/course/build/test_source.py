"""Reading notebooks without running them."""

from __future__ import annotations

import pytest

pytest.importorskip("nbformat")

from memcom.course.build.source import (
    Parameter,
    check_parameters,
    declared_parameters,
    widget_errors,
)
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


def test_widget_errors_name_the_cell_of_a_nested_widget():
    notebook = sample.build()
    sample.find(notebook, "widget").outputs = [
        {
            "output_type": "display_data",
            "data": {"application/vnd.jupyter.widget-view+json": {"model_id": "box"}},
            "metadata": {},
        }
    ]
    error = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mline"]}
    good = {"output_type": "display_data", "data": {}, "metadata": {}}
    state = {
        "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_a", "IPY_MODEL_b"]}},
        "a": {"model_name": "IntSliderModel", "state": {"value": 3}},
        "b": {"model_name": "OutputModel", "state": {"outputs": [good, error]}},
        "c": {"model_name": "OutputModel", "state": {"outputs": [error]}},
    }
    kind = "application/vnd.jupyter.widget-state+json"
    notebook.metadata["widgets"] = {kind: {"state": state}}
    assert widget_errors(notebook) == [
        "the widget of cell 8 (course.explorer(): E: v\nline",
        "a widget that is not shown: E: v\nline",
    ]
    assert widget_errors(sample.build()) == []
