"""From intervals to answers.

An answer is *yes* or *no* only where a 95 % interval says so; else it is *open*. Losses are
relative, positive is worse: against the full table, or against another method at equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from memcom.sweep.statistics import Interval

NOT_MEASURED = "not measured"
Case = tuple[str, Interval | None]  # where, and what was lost there; None if not measured


class Finding(NamedTuple):
    """A statement put to the test.

    Attributes:
        statement: What was claimed or supposed.
        source: By whom.
        answer: ``"yes"``, ``"no"``, ``"open"``, or ``"not measured"``.
        evidence: The numbers.
    """

    statement: str
    source: str
    answer: str
    evidence: str


def percent(interval: Interval) -> str:
    """An interval in percent: ``+4.2 % (+0.1 to +8.2)``."""
    value, low, high = (100 * each for each in interval)
    digits = 1 if abs(value) >= 1 or max(abs(low), abs(high)) >= 1 else 2
    span = "" if math.isnan(low) else f" ({low:+.{digits}f} to {high:+.{digits}f})"
    return f"{value:+.{digits}f} %{span}"


def at_most(limit: float) -> Callable[[Interval], str]:
    """The judge of "loses at most ``limit``"."""

    def judge(loss: Interval) -> str:
        return "yes" if loss.high <= limit else "no" if loss.low > limit else "open"

    return judge


def better(loss: Interval) -> str:
    """The judge of "is better", of a loss against the other method."""
    return "yes" if loss.high < 0 else "no" if loss.low > 0 else "open"


def judged(
    statement: str, source: str, cases: Sequence[Case], judge: Callable[[Interval], str] = better
) -> Finding:
    """A statement about each of some cases: it stands if it does in all, and falls with one.

    Args:
        statement: What is claimed.
        source: By whom.
        cases: Where it was looked for, and what was lost there.
        judge: `better`, or `at_most` of something.

    Returns:
        The finding; its evidence names every case.
    """
    known = [(name, loss) for name, loss in cases if loss is not None]
    evidence = "; ".join(f"{name} {percent(loss)}" for name, loss in known)
    return Finding(statement, source, together(judge(loss) for _, loss in known), evidence)


def counted(statement: str, source: str, cases: Sequence[Case]) -> Finding:
    """`judged` by `better`, for so many cases that they are counted instead of named."""
    known = [(name, loss) for name, loss in cases if loss is not None]
    answers = [better(loss) for _, loss in known]
    number = {answer: answers.count(answer) for answer in ("yes", "no", "open")}
    evidence = ""
    if known:
        values = sorted(loss.value for _, loss in known)
        middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
        against = [name for (name, _), answer in zip(known, answers, strict=True) if answer == "no"]
        evidence = (
            f"better in {number['yes']} of {len(known)} tables, worse in {number['no']}"
            + (f" ({', '.join(against)})" if against else "")
            + f", not told apart in {number['open']}; in the median it loses {100 * middle:+.1f} %"
        )
    return Finding(statement, source, together(answers), evidence)


def together(answers: Iterable[str]) -> str:
    """One answer from that of every case: yes if all are, no if one is."""
    given = set(answers)
    if not given:
        return NOT_MEASURED
    if "no" in given:
        return "no"
    return "yes" if given == {"yes"} else "open"


def difference(one: Interval | None, other: Interval | None) -> Interval | None:
    """One loss less another, of different tables: as if independent, which makes it wide."""
    if one is None or other is None:
        return None
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, value - down, value + up)
