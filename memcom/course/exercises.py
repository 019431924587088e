"""Exercises that answer on the spot, in JupyterLab and in a run without a screen.

An exercise is three code cells in a row: a folded one (tag ``check``) that says what a right
answer is, a stub that the reader fills in (tag ``exercise``), and a folded answer (tag
``solution``) with the same function. Both of the last two end in :func:`check`.
"""

from __future__ import annotations

import dataclasses
import linecache
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memcom.course.records import display_hidden

CHECK_MIME = "application/vnd.memcom.check+json"
NOT_TRIED = "not tried yet"
PASSED = "passed"
FAILED = "failed"

_checks: dict[str, Callable[[Callable[..., Any]], None]] = {}


@dataclass(frozen=True)
class Outcome:
    """What became of an answer.

    Attributes:
        name: Name of the exercise.
        status: ``"not tried yet"``, ``"passed"`` or ``"failed"``.
        message: What went wrong, for the reader; empty unless it failed.
        solution: Whether the answer is the course's own.
    """

    name: str
    status: str
    message: str = ""
    solution: bool = False

    def __str__(self) -> str:
        text = f"{self.name}{' (the solution)' if self.solution else ''}: {self.status}"
        return f"{text}\n{self.message}" if self.message else text


def exercise(
    name: str,
) -> Callable[[Callable[[Callable[..., Any]], None]], Callable[[Callable[..., Any]], None]]:
    """Register what a right answer to an exercise is.

    Args:
        name: Name of the exercise; usually that of the function asked for.

    Returns:
        A decorator for a function that takes the answer and asserts what must hold, with a
        message for the reader in every assertion.
    """

    def register(
        function: Callable[[Callable[..., Any]], None],
    ) -> Callable[[Callable[..., Any]], None]:
        _checks[name] = function
        return function

    return register


def check(name: str, answer: Callable[..., Any], *, solution: bool = False) -> None:
    """Tell the reader whether an answer is right. Never raises because of the answer.

    Args:
        name: Name of the exercise.
        answer: The reader's function.
        solution: Whether this is the course's own answer, so that the text says so.

    Raises:
        KeyError: If the exercise is not registered: its folded check cell has not run.
    """
    outcome = dataclasses.replace(evaluate(name, answer), solution=solution)
    data = dataclasses.asdict(outcome)
    if not display_hidden(CHECK_MIME, data, text=str(outcome)):
        print(outcome)


def evaluate(name: str, answer: Callable[..., Any]) -> Outcome:
    """Check an answer.

    Args:
        name: Name of the exercise.
        answer: The function to check. Raising ``NotImplementedError`` means "not tried yet".

    Returns:
        The outcome, with a message that says what to look at.

    Raises:
        KeyError: If the exercise is not registered.
    """
    if name not in _checks:
        known = ", ".join(sorted(_checks)) or "none"
        raise KeyError(
            f"no exercise {name!r} here (known: {known}); run the folded cell above it first"
        )
    try:
        _checks[name](answer)
    except NotImplementedError:
        return Outcome(name, NOT_TRIED)
    except Exception as error:  # the reader's code may do anything: every fault is an answer
        return Outcome(name, FAILED, _explain(error, answer))
    return Outcome(name, PASSED)


def _explain(error: Exception, answer: Callable[..., Any]) -> str:
    """Say what went wrong, with the reader's own line where it went wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(answer, "__code__", None)
    inside = [
        frame
        for frame in frames
        if code is not None and (frame.filename, frame.name) == (code.co_filename, code.co_name)
    ]
    if isinstance(error, AssertionError) and str(error):
        return str(error)
    where = inside[-1] if inside else frames[-1]
    line = linecache.getline(where.filename, where.lineno or 0).strip()
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    owner = f"your function, line {where.lineno}" if inside else "the check"
    return f"{text}\n  in {owner}: {line}" if line else text
