"""Checks of arguments: each returns the value, or raises an error that names it and the range."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_PARTS = 64
"""Numbers that one argument may list: tables, digits, fields or layers."""


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return an integer in ``[low, high]``; NumPy's integers become Python's.

    Raises:
        TypeError: It is no integer, or a bool.
        ValueError: It is out of range.
    """
    found = integer(name, value)
    if found < low or (high is not None and found > high):
        top = "" if high is None else f" and <= {high}"
        raise ValueError(f"{name} must be >= {low}{top}, got {shown(value)}")
    return found


def integer(name: str, value: Any) -> int:
    """Return a Python integer of any size; anything else, a bool too, is a TypeError."""
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor's own words for "no integer"
        found = None
    if found is None:
        raise TypeError(f"{name} must be an int, got {shown(value)}")
    return found


def number(name: str, value: Any) -> float:
    """Return a real number, infinite ones and NaN too; integers stay integers.

    Raises:
        TypeError: It is no number, or a bool.
    """
    found = value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # of NumPy or torch
        try:
            found = value.item()
        except RuntimeError:  # a tensor without values
            found = None
    if isinstance(found, bool) or not isinstance(found, numbers.Real):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        as_float = float(found)
    except OverflowError:
        raise ValueError(f"{name} must be finite, got {shown(value)}") from None
    return found if isinstance(found, int) else as_float


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number in ``[low, high]``; integers stay integers.

    Raises:
        TypeError: It is no number, or a bool.
        ValueError: It is infinite, NaN or out of range.
    """
    found = number(name, value)
    if math.isfinite(found) and low <= found <= high:
        return found
    limits = [
        f"{sign} {bound:g}" for sign, bound in ((">=", low), ("<=", high)) if math.isfinite(bound)
    ]
    raise ValueError(f"{name} must be {' and '.join(limits) or 'finite'}, got {shown(value)}")


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
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):  # NumPy's
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def path_like(name: str, value: Any) -> None:
    """Refuse anything but a string or a path object."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {shown(value)}")


def numbers_of(name: str, value: Any) -> Any:
    """Return a NumPy array of integers, floats or bools."""
    import numpy as np

    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value
    try:
        if isinstance(value, Iterable) and not (
            isinstance(value, Sequence | Mapping) or hasattr(value, "__array__")
        ):
            value = list(value)
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.dtype.kind == "O" and all(
            isinstance(each, numbers.Number) and not isinstance(each, complex)
            for each in array.flat
        ):
            array = array.astype(np.float64)  # fractions, decimals, large integers
    except (TypeError, ValueError, RuntimeError, OverflowError):
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, got {shown(value)}")
    return array


def closest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'qr'?"`` for a name near a known one, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: Any) -> str:
    """Return a value as Python writes it, cut after 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # an int of too many digits
        return f"an int of about {int(value.bit_length() * 0.30103)} digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
