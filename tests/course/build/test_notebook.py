"""Notebook files, read and cleaned without running them."""

from __future__ import annotations

import pytest

pytest.importorskip("nbformat")

from nbformat import v4

from memcom.course import clean, copy_notebooks, lint
from memcom.course.build.notebook import (
    Parameter,
    check_parameters,
    declared_parameters,
    harvest,
    headings,
    read,
    read_header,
    split_records,
    widget_errors,
)
from memcom.course.records import RECORD_MIME
from tests.course.build import sample

RESULT = {"method": "qr", "nbytes": 10, "ratio": 4.0, "ndcg_at_10": None, "loss_percent": None}


def test_the_samples_header():
    header = read_header(sample.build())
    assert header.title == "Sharing rows: fewer rows than ids"
    assert header.purpose == "How many ids share a row when the table is too small."
    assert header.abilities == ("count collisions,", "say what a bucket costs.")
    assert header.fields == {
        "Time to read": "2 min",
        "Time to run": "3 s fast, 3 s full",
        "Needs": "CPU, 0.5 GB memory",
        "Before this": "nothing",
        "Paper": "none",
    }


def test_an_empty_notebook_has_an_empty_header():
    header = read_header(v4.new_notebook())
    assert (header.title, header.purpose, header.abilities, header.fields) == ("", "", (), {})


def test_headings_in_code_do_not_count():
    text = "# One\n\n```python\n# comment\n```\n\n## Two ##\n\n#no heading"
    notebook = v4.new_notebook(cells=[sample.markdown(text), sample.code("# code")])
    assert headings(notebook) == [(1, "One"), (2, "Two")]


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


def with_output(notebook):
    notebook.cells[2].outputs = [v4.new_output("stream", text="x")]


def counted(notebook):
    notebook.cells[2].execution_count = 3


def ran(notebook):
    notebook.cells[2].metadata["papermill"] = {"duration": 1.0}


def test_clean_removes_what_a_run_leaves_and_nothing_else(tmp_path):
    path = sample.write(tmp_path)
    assert clean(path) is False
    before = path.read_text()
    notebook = sample.build()
    for cell, original in zip(notebook.cells, read(path).cells, strict=True):
        cell["id"] = original["id"]
    with_output(notebook)
    counted(notebook)
    ran(notebook)
    notebook.metadata["widgets"] = {"state": {}}
    notebook.metadata["language_info"] = {"name": "python", "version": "3.99"}
    sample.write(tmp_path, notebook)
    assert clean(path) is True
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("plant", [with_output, counted, ran])
def test_traces_of_a_run_are_seen(tmp_path, plant):
    notebook = sample.build()
    plant(notebook)
    assert lint(sample.write(tmp_path, notebook)) == [
        "it has outputs or traces of a run: memcom clean"
    ]


def test_the_course_is_copied_whole_and_never_over_a_readers_work(tmp_path):
    copies = copy_notebooks(tmp_path / "mine")
    assert [path.stem[:2] for path in copies] == [f"{k:02}" for k in range(len(copies))]
    assert copy_notebooks(tmp_path / "mine") == copies
    copies[3].write_text("solved")
    copies[0].unlink()
    with pytest.raises(FileExistsError, match=copies[3].name):
        copy_notebooks(tmp_path / "mine")
    assert copies[3].read_text() == "solved"
    assert not copies[0].exists()
