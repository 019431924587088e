"""Exercises that answer on the spot, in JupyterLab and in a run without a screen.

An exercise is three code cells in a row: a folded one (tag ``check``) that asserts what a right
answer is, a stub that the reader fills in (tag ``exercise``), and a folded answer (tag
``solution``) with the same function. Both of the last two end in `check`.
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

Check = Callable[[Callable[..., Any]], None]
_checks: dict[str, Check] = {}


@dataclass(frozen=True)
class CheckResult:
    """Result of checking an answer.

    Attributes:
        name: Name of the exercise.
        status: ``"not tried yet"``, ``"passed"`` or ``"failed"``.
        message: Explanation for the reader; empty unless the check failed.
        solution: The answer is the course's own.
    """

    name: str
    status: str
    message: str = ""
    solution: bool = False

    def __str__(self) -> str:
        text = f"{self.name}{' (the solution)' if self.solution else ''}: {self.status}"
        return f"{text}\n{self.message}" if self.message else text


def exercise(name: str) -> Callable[[Check], Check]:
    """Register the check of an exercise.

    Args:
        name: Name of the exercise; usually that of the function asked for.

    Returns:
        A decorator for a function that takes the answer and asserts what must hold, with a
        message for the reader in every assertion.
    """

    def register(function: Check) -> Check:
        _checks[name] = function
        return function

    return register


def check(name: str, answer: Callable[..., Any], *, solution: bool = False) -> None:
    """Show the reader the result of an answer. Never raises because of the answer.

    Args:
        name: Name of the exercise.
        answer: The reader's function.
        solution: The answer is the course's own; the text says so.

    Raises:
        KeyError: The exercise is not registered: its folded check cell has not run.
    """
    result = dataclasses.replace(evaluate_answer(name, answer), solution=solution)
    if not display_hidden(CHECK_MIME, dataclasses.asdict(result), text=str(result)):
        print(result)


def evaluate_answer(name: str, answer: Callable[..., Any]) -> CheckResult:
    """Check an answer.

    Args:
        name: Name of the exercise.
        answer: The function to check. Raising ``NotImplementedError`` means "not tried yet".

    Returns:
        The result, with a message that says what to look at.

    Raises:
        KeyError: The exercise is not registered.
    """
    if name not in _checks:
        known = ", ".join(sorted(_checks)) or "none"
        raise KeyError(
            f"no exercise {name!r} here (known: {known}); run the folded cell above it first"
        )
    try:
        _checks[name](answer)
    except NotImplementedError:
        return CheckResult(name, NOT_TRIED)
    except Exception as error:  # the reader's code may do anything: every fault is an answer
        return CheckResult(name, FAILED, _explain(error, answer))
    return CheckResult(name, PASSED)


def _explain(error: Exception, answer: Callable[..., Any]) -> str:
    """Return the check's message, or the error and the line that raised it."""
    if isinstance(error, AssertionError) and str(error):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(answer, "__code__", None)
    own = code and (code.co_filename, code.co_name)
    inside = [frame for frame in frames if (frame.filename, frame.name) == own]
    where = inside[-1] if inside else frames[-1]
    line = linecache.getline(where.filename, where.lineno or 0).strip()
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    owner = f"your function, line {where.lineno}" if inside else "the check"
    return f"{text}\n  in {owner}: {line}" if line else text
