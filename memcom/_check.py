"""Checks of arguments: each returns the value, or raises an error that names it and the range."""

from __future__ import annotations

import inspect
import math
import numbers
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

MAX_PARTS = 64
"""Numbers that one argument may list: tables, digits, fields or layers."""
_LARGEST = 2**62


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


def path_like(name: str, value: Any) -> None:
    """Refuse anything but a string or a path object."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {shown(value)}")


def check_types(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments as Python's types, or refuse one that is of another type.

    The types are those of the function's or constructor's annotations. NumPy's numbers become
    Python's, numbers are finite, and lists of numbers have 1 to `MAX_PARTS` entries. Ranges are
    the function's own.
    """
    kinds = _kinds(function)
    return {
        name: value
        if value is None or name not in kinds
        else _of_kind(name, value, kinds[name].removesuffix(" | None"))
        for name, value in options.items()
    }


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, str]:
    """The keyword arguments and their annotations, as written."""
    made = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    parameters = inspect.signature(made).parameters.values()
    return {p.name: str(p.annotation) for p in parameters if p.kind is p.KEYWORD_ONLY}


def _of_kind(name: str, value: Any, kind: str) -> Any:
    if kind == "int":
        return whole(name, value, -_LARGEST, _LARGEST)
    if kind == "float":
        return real(name, value)
    if kind == "bool":
        return flag(name, value)
    if kind == "str" and not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {shown(value)}")
    if kind.startswith("Sequence"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TypeError(f"{name} must be a list, got {shown(value)}")
        if kind == "Sequence[int]":
            if not 1 <= len(value) <= MAX_PARTS:
                raise ValueError(f"{name} must have 1 to {MAX_PARTS} numbers, got {len(value)}")
            return [whole(name, each, 1, _LARGEST) for each in value]
        if kind == "Sequence[str]" and not all(isinstance(each, str) for each in value):
            raise TypeError(f"{name} must be a list of strings, got {shown(value)}")
    if kind == "Tensor":
        from torch import Tensor

        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    return value


def shown(value: Any) -> str:
    """Return a value as Python writes it, cut after 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # an int of too many digits
        return f"an int of about {int(value.bit_length() * 0.30103)} digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
