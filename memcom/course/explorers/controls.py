"""Controls of an explorer: plain descriptions, of which ipywidgets makes widgets.

Every control has a label and a help text, works from the keyboard, and reports its value when it
is let go, not while it moves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class Control(ABC):
    """Anything that makes a widget and knows where to move it.

    Attributes:
        label: Short name, shown beside the control, with its unit where it has one.
        default: Value at the start.
        help: One sentence for the tooltip.
    """

    label: str
    default: Any
    help: str

    @abstractmethod
    def positions(self) -> tuple[Any, ...]:
        """Return the values for a tour: both ends and the middle."""

    @abstractmethod
    def kind(self) -> tuple[str, dict[str, Any]]:
        """Return the name of the ipywidgets class and the arguments that only it takes."""

    def widget(self) -> Any:
        """Return a new ipywidgets control at the default."""
        import ipywidgets

        name, options = self.kind()
        return getattr(ipywidgets, name)(
            value=self.default,
            description=self.label,
            tooltip=self.help,
            style={"description_width": "10em"},
            layout={"width": "32em", "max_width": "100%"},
            **options,
        )


@dataclass(frozen=True)
class Slider(Control):
    """A number between two ends: an ``IntSlider`` if all its numbers are int.

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
        """Return both ends and the middle, on the slider's grid."""
        middle = (self.maximum - self.minimum) / 2 // self.step * self.step + self.minimum
        return (self.minimum, middle, self.maximum)

    def kind(self) -> tuple[str, dict[str, Any]]:
        """Return a slider of whole numbers or of fractions."""
        ends = {"min": self.minimum, "max": self.maximum, "step": self.step}
        whole = all(isinstance(number, int) for number in (*ends.values(), self.default))
        return "IntSlider" if whole else "FloatSlider", {**ends, "continuous_update": False}


@dataclass(frozen=True)
class Choice(Control):
    """One of several values: a ``SelectionSlider`` over numbers, else a ``Dropdown``.

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
        """Return the first, middle and last option where they are numbers, else all options."""
        if not all(map(_is_number, self.options)):
            return tuple(self.options)
        places = sorted({0, len(self.options) // 2, len(self.options) - 1})
        return tuple(self.options[place] for place in places)

    def kind(self) -> tuple[str, dict[str, Any]]:
        """Return a slider over the options or a menu of them; thousands are separated."""
        labels = [
            f"{o:,}" if _is_number(o) and isinstance(o, int) else str(o) for o in self.options
        ]
        options = {"options": list(zip(labels, self.options, strict=True))}
        if all(map(_is_number, self.options)):
            return "SelectionSlider", {**options, "continuous_update": False}
        return "Dropdown", options


@dataclass(frozen=True)
class Toggle(Control):
    """Yes or no: a ``Checkbox``.

    Attributes:
        label: Short name.
        default: Value at the start.
        help: One sentence for the tooltip.
    """

    label: str
    default: bool
    help: str

    def positions(self) -> tuple[bool, ...]:
        """Return both values."""
        return (False, True)

    def kind(self) -> tuple[str, dict[str, Any]]:
        """Return a checkbox."""
        return "Checkbox", {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
