"""Explorers draw, describe, and do not hide a failure."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from memcom.course import Slider, Toggle, explorer, tour

CONTROLS = {
    "rows": Slider("Rows", 1, 9, 1, default=3, help="rows stored"),
    "bias": Toggle("Bias", default=False, help="one more number per id"),
}


def render(rows: int, bias: bool) -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, rows], [int(bias), 1])
    return figure


def describe(rows: int, bias: bool) -> str:
    return f"{rows} rows & bias {bias}"


def shown(target) -> str:
    (output,) = target.output.outputs
    return output["data"]["text/html"]


def test_picture_text_and_alternative_text_follow_the_controls():
    target = explorer(render, CONTROLS, describe=describe)
    first = shown(target)
    assert 'alt="3 rows &amp; bias False"' in first
    assert "3 rows &amp; bias False" in target.text.value
    target.widgets["rows"].value = 5
    assert target.values == {"rows": 5, "bias": False}
    assert 'alt="5 rows &amp; bias False"' in shown(target)
    assert "5 rows" in target.text.value
    assert shown(target) != first


def test_the_box_holds_controls_then_picture_then_text():
    target = explorer(render, CONTROLS, height=300)
    assert list(target.box.children) == [*target.widgets.values(), target.output, target.text]
    assert target.output.layout.height == "300px"
    assert "application/vnd.jupyter.widget-view+json" in target._repr_mimebundle_()


def test_the_height_is_at_most_that_of_the_first_figure():
    def growing(rows: int, bias: bool) -> Figure:
        return Figure(figsize=(3, rows))

    target = explorer(growing, CONTROLS)
    assert target.output.layout.max_height == f"{3 * 96 + 16}px"
    target.widgets["rows"].value = 9
    assert target.output.layout.max_height == f"{3 * 96 + 16}px"


def test_without_a_description_the_values_are_said():
    target = explorer(render, CONTROLS)
    assert "Rows 3, Bias False" in target.text.value


def test_figures_of_pyplot_are_closed():
    def with_pyplot(rows: int, bias: bool) -> Figure:
        figure, axes = plt.subplots()
        axes.plot([rows, int(bias)])
        return figure

    before = plt.get_fignums()
    tour(explorer(with_pyplot, CONTROLS))
    assert plt.get_fignums() == before


def test_an_explorer_needs_a_control():
    with pytest.raises(ValueError, match="at least one control"):
        explorer(render, {})


def test_tour_of_a_sound_explorer_goes_everywhere_and_comes_back():
    seen = []

    def watching(rows: int, bias: bool) -> Figure:
        seen.append((rows, bias))
        return render(rows, bias)

    target = explorer(watching, CONTROLS, describe=describe)
    assert tour(target) == []
    assert {(1, False), (5, False), (9, False), (3, True)} <= set(seen)
    assert target.values == {"rows": 3, "bias": False}


def test_a_failure_is_shown_saved_and_found_by_the_tour():
    def failing(rows: int, bias: bool) -> Figure:
        if rows == 9:
            raise ZeroDivisionError("planted")
        return render(rows, bias)

    target = explorer(failing, CONTROLS)
    assert tour(target) == ["Rows 9, Bias False: ZeroDivisionError: planted"]
    target.widgets["rows"].value = 9
    (output,) = target.output.outputs
    assert output["output_type"] == "error"
    assert (output["ename"], output["evalue"]) == ("ZeroDivisionError", "planted")
    assert any("in failing" in line for line in output["traceback"])
    assert "could not be drawn" in target.text.value
    target.widgets["rows"].value = 2  # and it recovers
    assert "<img" in shown(target)


def test_a_failing_description_is_a_failure_too():
    def silent(rows: int, bias: bool) -> str:
        raise KeyError("bytes")

    assert explorer(render, CONTROLS, describe=silent).errors == [
        "Rows 3, Bias False: KeyError: 'bytes'"
    ]


def test_tour_finds_a_control_that_changes_nothing():
    def deaf(rows: int, bias: bool) -> Figure:
        return render(rows, False)

    target = explorer(deaf, CONTROLS, describe=lambda rows, bias: f"{rows} rows")
    assert tour(target) == ["Bias: the picture is the same at every position"]


def test_importing_the_package_loads_neither_ipywidgets_nor_matplotlib():
    code = (
        "import sys, memcom.course, memcom.course\n"
        "heavy = {'ipywidgets', 'matplotlib', 'papermill', 'nbconvert', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
