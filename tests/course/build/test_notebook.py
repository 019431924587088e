"""Notebook files, read and cleaned without running them."""

from __future__ import annotations

import pytest

pytest.importorskip("nbformat")

from nbformat import v4

from memcom.course import clean, copy_notebooks, lint
from memcom.course.build.notebook import (
    headings,
    read_header,
    read_notebook,
)
from tests.course.build import sample


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
    for cell, original in zip(notebook.cells, read_notebook(path).cells, strict=True):
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
