"""What a notebook says about itself."""

from __future__ import annotations

import pytest

pytest.importorskip("nbformat")

from nbformat import v4

from memcom.course.build.header import headings, read_header
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
