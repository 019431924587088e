"""What a control description becomes, and where a tour moves it."""

from __future__ import annotations

import pytest

from memcom.course import Choice, Slider, Toggle

ipywidgets = pytest.importorskip("ipywidgets")


def test_slider_of_whole_numbers():
    control = Slider("Rows", 1, 10, 3, default=4, help="rows stored")
    widget = control.widget()
    assert isinstance(widget, ipywidgets.IntSlider)
    assert (widget.min, widget.max, widget.step, widget.value) == (1, 10, 3, 4)
    assert (widget.description, widget.tooltip) == ("Rows", "rows stored")
    assert widget.continuous_update is False
    assert control.positions() == (1, 4, 10)


def test_slider_of_fractions():
    control = Slider("Power", 0.0, 2.0, 0.5, default=1.0, help="steepness")
    assert isinstance(control.widget(), ipywidgets.FloatSlider)
    assert control.positions() == (0.0, 1.0, 2.0)


@pytest.mark.parametrize(("default", "step"), [(11, 1), (-1, 1), (5, 0)])
def test_slider_refuses_what_cannot_be(default, step):
    with pytest.raises(ValueError, match=r"must lie in \[0, 10\]"):
        Slider("Rows", 0, 10, step, default=default, help="rows stored")


def test_choice_of_numbers_is_a_slider_with_thousands_separated():
    control = Choice("Buckets", (16, 256, 4096, 65536), default=256, help="rows stored")
    widget = control.widget()
    assert isinstance(widget, ipywidgets.SelectionSlider)
    assert [label for label, _ in widget.options] == ["16", "256", "4,096", "65,536"]
    assert widget.value == 256
    assert widget.continuous_update is False
    assert control.positions() == (16, 4096, 65536)


def test_choice_of_words_is_a_menu_and_all_of_it_is_toured():
    control = Choice("Fusion", ("sum", "mult", "concat", "none"), default="mult", help="how")
    assert isinstance(control.widget(), ipywidgets.Dropdown)
    assert control.positions() == ("sum", "mult", "concat", "none")


def test_choice_refuses_a_default_that_is_no_option():
    with pytest.raises(ValueError, match="3 is none of"):
        Choice("Buckets", (1, 2), default=3, help="rows stored")


def test_toggle():
    control = Toggle("Bias", default=True, help="one more number per id")
    widget = control.widget()
    assert widget.value is True
    assert widget.tooltip == "one more number per id"
    assert control.positions() == (False, True)
