"""Checks of the values of a spec; each raises ValueError with the value and the valid range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

_T = TypeVar("_T")


def listed(name: str, value: Any, of: str) -> list[Any]:
    """Return the items of a list or tuple; ``of`` says what they should be."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ValueError(f"{name} must be a list of {of}, got {value!r:.80}")
    return list(value)


def table(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping with names as keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be a table of names and values, got {value!r:.80}")
    return dict(value)


def one_of(name: str, value: Any, known: Sequence[str]) -> str:
    """Return a text that is one of those known."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r:.80}")
    return value


def whole(name: str, value: Any, low: int = 1, high: int = 10**9) -> int:
    """Return a whole number in ``[low, high]``; 2.0 is none, nor is true."""
    exact = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if exact is None or not low <= exact <= high:
        limits = f" of at least {low}" if high == 10**9 else f" from {low} to {high:,}"
        limits = limits if low else ", not negative"
        raise ValueError(f"{name} must be a whole number{limits}, got {value!r:.80}")
    return exact


def number(name: str, value: Any, low: float = -math.inf, *, above: bool = False) -> float:
    """Return a finite number that is at least ``low``, or above it."""
    try:
        real = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        real = math.inf
    if not math.isfinite(real) or real < low or (above and real == low):
        limit = "" if low == -math.inf else f" {'>' if above else '>='} {low:g}"
        raise ValueError(f"{name} must be a finite number{limit}, got {value!r:.80}")
    return real


def each(name: str, value: Any, of: str, read: Callable[[str, Any], _T]) -> tuple[_T, ...]:
    """Return the items of a list, each as ``read(name, item)`` gives it."""
    return tuple(read(f"each of {name}", item) for item in listed(name, value, of))


def like(name: str, default: Any, value: Any) -> Any:
    """Return an option's value as one of the kind of its default.

    Whole numbers become floats where the default is one, so that 0 and 0.0 give one key. None as
    the default stands for a whole number that may be left out.
    """
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r:.80}")
        return value
    if isinstance(default, float):
        return number(name, value)
    if isinstance(default, int):
        return whole(name, value, 0)
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text, got {value!r:.80}")
        return value
    if isinstance(default, Mapping):
        return {str(k): number(f"{name} {k}", v) for k, v in table(name, value).items()}
    if isinstance(default, list | tuple):
        if any(isinstance(one, str) for one in default):
            return [like(f"each of {name}", "", one) for one in listed(name, value, "texts")]
        return list(each(name, value, "whole numbers", whole))
    return None if value is None else whole(name, value)
