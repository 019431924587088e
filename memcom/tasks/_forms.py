"""Forms of a trained full table: a method, fitted to it without further training."""

from __future__ import annotations

from typing import NamedTuple

from memcom._check import shown
from memcom.embeddings import parse_spec
from memcom.tasks.protocol import FITTED


class Form(NamedTuple):
    """A method that a trained full table is fitted by.

    Attributes:
        spec: The method with its options, such as ``full(bits=3)``.
        ratio: The budget; None for a method that has one size, as ``int4``.
    """

    spec: str
    ratio: float | None

    @classmethod
    def of(cls, text: str) -> Form:
        """Read ``int4``, ``full(bits=3)`` or ``rq@16``; raises ValueError."""
        spec, at, ratio = text.partition("@")
        parse_spec(spec)
        try:
            number = float(ratio) if at else None
        except ValueError:
            number = 0.0
        if number is not None and not 1 <= number <= 1e9:
            raise ValueError(f"a form is written method or method@ratio, got {shown(text)}")
        return cls(spec, number)

    @property
    def name(self) -> str:
        """Its name among what was derived: a method with a ratio of its own has `FITTED` before."""
        return self.spec if self.ratio is None else f"{FITTED}{self.spec}@{self.ratio:g}"


def split_name(name: str) -> tuple[str, float | None]:
    """Split the name of a form, `Form.name`, into a method and a ratio."""
    method, at, ratio = name.rpartition("@")
    return (method, float(ratio)) if at else (name, None)
