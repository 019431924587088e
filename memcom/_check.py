"""Checks of arguments: each returns the value, or raises an error that names it and the range."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return an integer in ``[low, high]``; NumPy's integers become Python's.

    Raises:
        TypeError: It is no integer, or a bool.
        ValueError: It is out of range.
    """
    top = "" if high is None else f" and <= {high}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor's own words for "no integer"
        number = None
    if number is None:
        raise TypeError(f"{name} must be an int, got {shown(value)}")
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be >= {low}{top}, got {shown(value)}")
    return number


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number in ``[low, high]``; integers stay integers.

    Raises:
        TypeError: It is no number, or a bool.
        ValueError: It is infinite, NaN or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    limits = [
        f"{sign} {bound:g}" for sign, bound in ((">=", low), ("<=", high)) if math.isfinite(bound)
    ]
    wanted = " and ".join(limits) or "finite"
    try:
        fits = math.isfinite(value) and low <= float(value) <= high
    except OverflowError:  # an int beyond float
        fits = False
    if not fits:
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}")
    return value if isinstance(value, int) else float(value)


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """Return one of ``options``; the ValueError lists them."""
    if not isinstance(value, str) or value not in options:
        listed = ", ".join(map(repr, options))
        raise ValueError(f"{name} must be one of {listed}, got {shown(value)}")
    return value


def flag(name: str, value: Any) -> bool:
    """Return a bool.

    Raises:
        TypeError: It is anything else, such as the string "no", which Python takes for true.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """Return a value as Python writes it, cut after 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # an int of too many digits
        return f"an int of about {int(value.bit_length() * 0.30103)} digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
