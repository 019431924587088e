"""Verdicts from intervals.

A verdict is *yes* or *no* only where a 95 % interval says so, else *open*. Losses are relative and
positive is worse: against the full table, or against another method at equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from memcom.sweep import Interval

NOT_MEASURED = "not measured"
Case = tuple[str, Interval]  # label and loss


class Finding(NamedTuple):
    """A claim with its verdict.

    Attributes:
        topic: Heading under which it is listed.
        statement: What is claimed.
        source: Who claims it.
        verdict: ``"yes"``, ``"no"``, ``"open"`` or ``"not measured"``.
        evidence: The numbers.
    """

    topic: str
    statement: str
    source: str
    verdict: str
    evidence: str


def verdict(loss: Interval, at_most: float | None = None) -> str:
    """Verdict on "loses at most ``at_most``", or without a limit on "is better"."""
    if at_most is None:
        return "yes" if loss.high < 0 else "no" if loss.low > 0 else "open"
    return "yes" if loss.high <= at_most else "no" if loss.low > at_most else "open"


def combine(verdicts: Iterable[str]) -> str:
    """One verdict from those of all cases: yes if all are yes, no if any is no."""
    given = set(verdicts)
    if not given:
        return NOT_MEASURED
    return "no" if "no" in given else "yes" if given == {"yes"} else "open"


def percent(loss: Interval) -> str:
    """A loss with its interval in percent: ``+4.2 % (+0.1 to +8.2)``."""
    value, low, high = (100 * each for each in loss)
    digits = 1 if abs(value) >= 1 or max(abs(low), abs(high)) >= 1 else 2
    span = "" if math.isnan(low) else f" ({low:+.{digits}f} to {high:+.{digits}f})"
    return f"{value:+.{digits}f} %{span}"


def listing(cases: Sequence[Case]) -> str:
    """Every case with its loss."""
    return "; ".join(f"{label} {percent(loss)}".lstrip() for label, loss in cases)


def tally(cases: Sequence[Case]) -> str:
    """Number of cases where a method is better, worse, or neither, and its median loss."""
    if not cases:
        return ""
    verdicts = [verdict(loss) for _, loss in cases]
    worse = [label for (label, _), found in zip(cases, verdicts, strict=True) if found == "no"]
    return (
        f"better in {verdicts.count('yes')} of {len(cases)} tables, worse in {len(worse)}"
        + (f" ({', '.join(worse)})" if worse else "")
        + f", not told apart in {verdicts.count('open')}; "
        f"median loss {100 * median(loss.value for _, loss in cases):+.1f} %"
    )


def difference(one: Interval, other: Interval) -> Interval:
    """One loss minus another of a different table, treated as independent."""
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, value - down, value + up)
