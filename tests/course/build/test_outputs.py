"""Outputs of a run: records and errors of widgets."""

from __future__ import annotations

import pytest

pytest.importorskip("nbformat")

from nbformat import v4

from memcom.course.build.outputs import harvest, split_records, widget_errors
from memcom.course.records import RECORD_MIME
from tests.course.build import sample

RESULT = {"method": "qr", "nbytes": 10, "ratio": 4.0, "ndcg_at_10": None, "loss_percent": None}


def displayed(*entries):
    """A notebook whose second cell has displayed records."""
    cell = v4.new_code_cell("…")
    cell.outputs = [
        v4.new_output("display_data", data={RECORD_MIME: {"name": name, "value": value}})
        for name, value in entries
    ]
    return v4.new_notebook(cells=[v4.new_markdown_cell("# Title"), cell])


def test_harvest_gives_cell_and_content():
    notebook = displayed(("a", 1), ("b", [2]))
    assert list(harvest(notebook)) == [
        (1, {"name": "a", "value": 1}),
        (1, {"name": "b", "value": [2]}),
    ]


def test_records_are_sorted_into_values_and_results():
    other = {**RESULT, "method": "hash"}
    notebook = displayed(("result", RESULT), ("a", 1), ("result", other))
    assert split_records(notebook) == ({"a": 1}, [RESULT, other])


def test_a_name_counts_once():
    with pytest.raises(ValueError, match="cell 1 records 'a' a second time"):
        split_records(displayed(("a", 1), ("a", 1)))


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
