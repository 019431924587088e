"""A thin face over a function that draws a figure.

The function is pure: it gets the values of the controls and returns a figure. So it is tested
without a widget, and it draws the static picture for readers who have only the page. A failure of
it is kept in three places: on the screen, in the saved state of the widget (where a run without a
screen finds it), and in `Explorer.errors`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from memcom._text import escape
from memcom.course.explorers.controls import Control

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Render = Callable[..., "Figure"]
Describe = Callable[..., str]

_MARGIN = 16  # pixels around the picture

_explorers: list[Explorer] = []


class Explorer:
    """Controls, a picture that follows them, and its numbers in words.

    As the last expression of a cell it shows itself.

    Args:
        render: Draws the figure; takes each control's value as a keyword of the control's name,
            and nothing from outside that may change later.
        controls: The controls by the name of their parameter, in order of display.
        describe: Takes the same keywords and returns in words and numbers what the picture shows
            (bytes, rows, collisions). It is shown below the picture and is its alternative text.
            By default the values of the controls.
        height: Height of the picture's box in pixels, fixed. By default the box is as high as its
            picture, which is smaller in a narrow window, but never higher than the first figure,
            so that the text below does not jump.

    Attributes:
        controls: The controls' descriptions by name.
        widgets: The ipywidgets controls by name.
        output: The ipywidgets ``Output`` that holds the picture or the error.
        text: The ipywidgets ``HTML`` that holds the line of text.
        box: All of it.
        errors: One text per failed drawing since the explorer was made.

    Raises:
        ValueError: There are no controls.
    """

    def __init__(
        self,
        render: Render,
        controls: Mapping[str, Control],
        *,
        describe: Describe | None = None,
        height: int | None = None,
    ) -> None:
        import ipywidgets

        if not controls:
            raise ValueError("an explorer needs at least one control")
        self._render = render
        self._describe = describe or self._spell
        self.controls = dict(controls)
        self.widgets = {name: control.widget() for name, control in controls.items()}
        self.errors: list[str] = []
        self.output = ipywidgets.Output(layout={"overflow": "auto"})
        if height is not None:
            self.output.layout.height = f"{height}px"
        self.text = ipywidgets.HTML()
        self.box = ipywidgets.VBox([*self.widgets.values(), self.output, self.text])
        for widget in self.widgets.values():
            widget.observe(lambda _: self.draw(), names="value")
        self.draw()
        _explorers.append(self)

    @property
    def values(self) -> dict[str, Any]:
        """The values of the controls by name."""
        return {name: widget.value for name, widget in self.widgets.items()}

    def draw(self) -> None:
        """Draw the picture for the controls' values.

        The output is replaced as a whole, in one message: nothing flickers, and it does not
        depend on which cell is running.
        """
        values = self.values
        try:
            text = self._describe(**values)
            figure = self._render(**values)
            if self.output.layout.height is None and self.output.layout.max_height is None:
                pixels = round(figure.get_figheight() * 96) + _MARGIN
                self.output.layout.max_height = f"{pixels}px"
            picture = _picture(figure, text)
        except Exception as error:  # the caller of a callback is the browser, which hides errors
            self.errors.append(f"{self._spell(**values)}: {type(error).__name__}: {error}")
            self.text.value = _line("This picture could not be drawn.")
            self.output.outputs = (_failure(error),)
        else:
            self.text.value = _line(text)
            self.output.outputs = (picture,)

    def _spell(self, **values: Any) -> str:
        return ", ".join(f"{self.controls[name].label} {value}" for name, value in values.items())

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Show the box where Jupyter shows the explorer."""
        return self.box._repr_mimebundle_(**options)


def explorer(
    render: Render,
    controls: Mapping[str, Control],
    *,
    describe: Describe | None = None,
    height: int | None = None,
) -> Explorer:
    """Return a new `Explorer`, whose arguments it takes."""
    return Explorer(render, controls, describe=describe, height=height)


def tour(target: Explorer) -> list[str]:
    """Move every control to both ends and the middle, the others at their defaults.

    Args:
        target: The explorer. Its controls are back at their defaults afterwards.

    Returns:
        One text for each drawing that failed, and for each control that changes nothing.
    """
    known = len(target.errors)
    idle = []
    for name, control in target.controls.items():
        shown = set()
        for position in control.positions():
            target.widgets[name].value = position
            shown.add((repr(target.output.outputs), target.text.value))
        target.widgets[name].value = control.default
        if len(shown) == 1:
            idle.append(f"{control.label}: the picture is the same at every position")
    return target.errors[known:] + idle


def tour_all() -> list[str]:
    """Tour every explorer made so far in this process.

    Returns:
        One text for each fault, those of the first drawing included.
    """
    return [error for target in list(_explorers) for error in [*target.errors[:], *tour(target)]]


def _picture(figure: Figure, alt: str) -> dict[str, Any]:
    """Turn a figure into an output, as a static picture of it would be, and close it."""
    import matplotlib.pyplot as plt

    from memcom.plots.display import to_html

    data = {"text/html": to_html(figure, alt), "text/plain": alt}
    plt.close(figure)
    return {"output_type": "display_data", "data": data, "metadata": {}}


def _failure(error: Exception) -> dict[str, Any]:
    """Turn an exception into an error output."""
    return {
        "output_type": "error",
        "ename": type(error).__name__,
        "evalue": str(error),
        "traceback": traceback.format_exception(type(error), error, error.__traceback__),
    }


def _line(text: str) -> str:
    """Return the line of text, which assistive technology reads out when it changes."""
    return f'<div role="status" aria-live="polite">{escape(text)}</div>'
