"""What a reader may turn: plain descriptions, of which ipywidgets makes controls.

Every control has a label and a help text, works from the keyboard, and reports its value when it
is let go, not while it moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Control(Protocol):
    """Anything that makes a widget and knows where to move it."""

    @property
    def label(self) -> str:
        """Short name, shown beside the control."""

    @property
    def default(self) -> Any:
        """Value at the start."""

    def positions(self) -> tuple[Any, ...]:
        """Values for a tour: both ends and the middle."""

    def widget(self) -> Any:
        """Make the ipywidgets control."""


@dataclass(frozen=True)
class Slider:
    """A number between two ends.

    Attributes:
        label: Short name, with its unit where it has one.
        minimum: Lower end.
        maximum: Upper end.
        step: Distance between two values.
        default: Value at the start.
        help: One sentence for the tooltip.
    """

    label: str
    minimum: float
    maximum: float
    step: float
    default: float
    help: str

    def __post_init__(self) -> None:
        if not self.minimum <= self.default <= self.maximum or self.step <= 0:
            raise ValueError(
                f"{self.label}: default {self.default} must lie in [{self.minimum}, "
                f"{self.maximum}] and step {self.step} above 0"
            )

    def positions(self) -> tuple[float, ...]:
        """Give both ends and the middle, on the slider's grid.

        Returns:
            Values in ascending order.
        """
        middle = (self.maximum - self.minimum) / 2 // self.step * self.step + self.minimum
        return (self.minimum, middle, self.maximum)

    def widget(self) -> Any:
        """Make the slider.

        Returns:
            An ``IntSlider`` where all its numbers are int, else a ``FloatSlider``.
        """
        import ipywidgets

        numbers = (self.minimum, self.maximum, self.step, self.default)
        whole = all(isinstance(number, int) for number in numbers)
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        return kind(
            value=self.default,
            min=self.minimum,
            max=self.maximum,
            step=self.step,
            continuous_update=False,
            **_look(self.label, self.help),
        )


@dataclass(frozen=True)
class Choice:
    """One of several values: a slider over numbers, a menu over anything else.

    Attributes:
        label: Short name, with its unit where it has one.
        options: The values, in order.
        default: Value at the start.
        help: One sentence for the tooltip.
    """

    label: str
    options: Sequence[Any]
    default: Any
    help: str

    def __post_init__(self) -> None:
        if self.default not in self.options:
            raise ValueError(f"{self.label}: {self.default!r} is none of {list(self.options)}")

    def positions(self) -> tuple[Any, ...]:
        """Give the first, middle and last option where they are numbers, else all options.

        Returns:
            Values in the order of the options.
        """
        if not self._numbers():
            return tuple(self.options)
        places = sorted({0, len(self.options) // 2, len(self.options) - 1})
        return tuple(self.options[place] for place in places)

    def widget(self) -> Any:
        """Make the control.

        Returns:
            A ``SelectionSlider`` over numbers, else a ``Dropdown``.
        """
        import ipywidgets

        options = [(_spelled(option), option) for option in self.options]
        look = _look(self.label, self.help)
        if self._numbers():
            return ipywidgets.SelectionSlider(
                options=options, value=self.default, continuous_update=False, **look
            )
        return ipywidgets.Dropdown(options=options, value=self.default, **look)

    def _numbers(self) -> bool:
        return all(
            isinstance(option, (int, float)) and not isinstance(option, bool)
            for option in self.options
        )


@dataclass(frozen=True)
class Toggle:
    """Yes or no.

    Attributes:
        label: Short name.
        default: Value at the start.
        help: One sentence for the tooltip.
    """

    label: str
    default: bool
    help: str

    def positions(self) -> tuple[bool, ...]:
        """Give both values."""
        return (False, True)

    def widget(self) -> Any:
        """Make the ``Checkbox``."""
        import ipywidgets

        look = _look(self.label, self.help)
        return ipywidgets.Checkbox(value=self.default, **look)


def _look(label: str, help_text: str) -> dict[str, Any]:
    """Give the arguments that all controls share."""
    return {
        "description": label,
        "tooltip": help_text,
        "style": {"description_width": "10em"},
        "layout": {"width": "32em", "max_width": "100%"},
    }


def _spelled(value: Any) -> str:
    """Spell an option; thousands are separated."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
