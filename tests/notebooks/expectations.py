"""What each notebook of the course must record, beyond running to its end.

One function for each notebook: it gets the recorded values and the result rows of a run in the
fast profile. Exact things (bytes, rows, collisions, equality with the library) are asserted with
``==``; learned things as orderings, since their decimals differ from machine to machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Expectation = Callable[[dict[str, Any], list[dict[str, Any]]], None]

EXPECTATIONS: dict[str, Expectation] = {}


def expect(name: str) -> Callable[[Expectation], Expectation]:
    """Register what a notebook must record; `name` is its file's, without ``.ipynb``."""

    def register(function: Expectation) -> Expectation:
        assert name not in EXPECTATIONS, f"{name} has its expectations already"
        EXPECTATIONS[name] = function
        return function

    return register
