"""The linter passes the sample and names every planted fault."""

from __future__ import annotations

import pytest

pytest.importorskip("nbconvert")

from memcom.course import lint
from memcom.course.build.linter import code_lines
from tests.course.build import sample


def faults(tmp_path, notebook) -> list[str]:
    return lint(sample.write(tmp_path, notebook))


def test_the_sample_is_sound(tmp_path):
    assert faults(tmp_path, sample.build()) == []


def edit(tag, old, new):
    def change(notebook):
        cell = sample.find(notebook, tag) if tag else notebook.cells[0]
        assert old in cell.source
        cell.source = cell.source.replace(old, new, 1)

    return change


def drop(tag):
    def change(notebook):
        notebook.cells.remove(sample.find(notebook, tag))

    return change


def meta(key, value):
    def change(notebook):
        notebook.metadata[key] = value

    return change


def text(old, new):
    def change(notebook):
        (cell,) = [cell for cell in notebook.cells if old in cell.source]
        cell.source = cell.source.replace(old, new)

    return change


def unfolded(tag):
    def change(notebook):
        sample.find(notebook, tag).metadata["jupyter"] = {}

    return change


def two_widgets(notebook):
    notebook.cells.insert(9, sample.code("course.explorer(render, {})", "widget"))


def picture_last(notebook):
    figure = sample.find(notebook, "figure")
    notebook.cells.remove(figure)
    notebook.cells.append(figure)


LONG = "\n".join(f"x{i} = {i}" for i in range(40))
PLANTED = [
    (meta("memcom", {"peak_mib": 9}), "metadata.memcom.seconds must be a number above 0, not None"),
    (
        meta("memcom", {"seconds": 9, "peak_mib": 9, "kind": "x"}),
        "metadata.memcom.kind must be 'compressor' or 'guide', not 'x'",
    ),
    (edit(None, "# Sharing", "Sharing"), "the first cell must be Markdown that starts with"),
    (edit(None, "# Sharing", "Sharing"), "there must be one h1, not 0"),
    (text("## Summary", "# Summary"), "there must be one h1, not 2"),
    (text("### Exercise 1", "#### Exercise 1"), "skips from level 2 to 4"),
    (text("## References", "## Sources"), "section '## References' is missing"),
    (text("## From scratch", "## References"), "sections must come in the order"),
    (edit(None, "small.", "small"), "a sentence of purpose must follow the title"),
    (edit(None, "* **Paper:** none", ""), "header field '- **Paper:** …' is missing"),
    (drop("parameters"), "there must be one cell tagged 'parameters', not 0"),
    (edit("parameters", "1000", "10 ** 3"), "parameters cell: line 2: NUM_IDS is no literal"),
    (edit("parameters", "NUM_IDS: int", "NUM_IDS"), "parameter NUM_IDS has no type"),
    (edit("parameters", "  # number", "\n# number"), "parameter NUM_IDS needs a comment"),
    (edit("parameters", "PROFILE", "SIZE"), "the parameter PROFILE is missing"),
    (edit("build", "class", "%%time\nclass"), "is no plain Python"),
    (drop("build"), "there must be a cell tagged 'build'"),
    (edit("build", "class Shared", LONG + "\n\n\nclass Shared"), "lines of code, not under 40"),
    (drop("figure"), "there must be a cell tagged 'figure'"),
    (drop("widget"), "there must be a cell tagged 'widget'"),
    (picture_last, "needs its static picture"),
    (two_widgets, "widget cell 9 needs its static picture"),
    (drop("exercise"), "there must be two exercises, not 1"),
    (drop("check"), "must follow a cell tagged 'check'"),
    (drop("solution"), "must be followed by a cell tagged 'solution'"),
    (unfolded("check"), "check cell 10 is not folded"),
    (unfolded("solution"), "solution cell 12 is not folded"),
    (edit("exercise", "raise NotImplementedError", "return"), "must raise NotImplementedError"),
    (edit("solution", "(a, m)", "(a, k)"), "functions of exercise cell 11 and its solution differ"),
    (
        edit("solution", ", solution=True", ""),
        "cell 12 must end in course.check(name, function, ",
    ),
    (edit("exercise", 'course.check("row", row)', ""), "cell 11 must end in course.check(name"),
    (text("(00_sample.ipynb)", "(01_gone.ipynb)"), "links to '01_gone.ipynb', which does not"),
    (text("https://example.org", "http://example.org"), "links to 'http://example.org/x', which"),
    (text("$i \\bmod m$", "$\\unknowncommand{i}$"), "unknowncommand"),
]


@pytest.mark.parametrize(("plant", "sentence"), PLANTED, ids=[entry[1][:60] for entry in PLANTED])
def test_a_fault_is_named(tmp_path, plant, sentence):
    notebook = sample.build()
    plant(notebook)
    assert any(sentence in fault for fault in faults(tmp_path, notebook))


def test_a_guide_needs_no_build_cell(tmp_path):
    notebook = sample.build()
    drop("build")(notebook)
    notebook.metadata["memcom"]["kind"] = "guide"
    assert faults(tmp_path, notebook) == []


def test_code_lines_are_neither_blank_nor_comment_nor_docstring():
    assert code_lines(sample.BUILD) == 5
    assert code_lines("") == 0
    assert code_lines('"""Only prose."""') == 0
    assert code_lines('x = """two\nlines"""') == 2
