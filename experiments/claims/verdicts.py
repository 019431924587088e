"""Verdicts from intervals.

A case is *yes* or *no* only where its 95 % interval says so, else *open*. A claim about every case
is *no* where a case is against it after Holm's correction for all of them, and *yes* where every
case is: no correction is needed there. A claim that there is such a case is judged the other way
round. Losses are relative and positive is worse: against the full table, or another method.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from memcom.sweep import Interval, holm, p_value

NOT_MEASURED = "not measured"
NOT_JUDGED = "not judged"  # the numbers are given, and no word
LEVEL = 0.05
Case = tuple[str, Interval]  # label and loss


class Finding(NamedTuple):
    """A claim with its verdict.

    Attributes:
        topic: Heading under which it is listed.
        statement: What is claimed.
        source: The paper that it is about, or this kit.
        kind: ``"abstract"`` if the paper's abstract says so, ``"kit's reading"`` if this kit reads
            it out of the paper, ``"hypothesis"`` if it is the kit's own.
        verdict: ``"yes"``, ``"no"``, ``"open"``, ``"not judged"`` or ``"not measured"``.
        evidence: The numbers.
    """

    topic: str
    statement: str
    source: str
    kind: str
    verdict: str
    evidence: str


def verdict(loss: Interval, at_most: float | None = None) -> str:
    """Verdict on "loses at most ``at_most``", or without a limit on "is better"."""
    if at_most is None:
        return "yes" if loss.high < 0 else "no" if loss.low > 0 else "open"
    return "yes" if loss.high <= at_most else "no" if loss.low > at_most else "open"


def judge(losses: Iterable[Interval], at_most: float | None = None, *, some: bool = False) -> str:
    """Return the verdict on a claim about every case, or that there is some case.

    Args:
        losses: Of the cases.
        at_most: As for `verdict`.
        some: The claim is that one case holds.

    Returns:
        The verdict.
    """
    losses = list(losses)
    if not losses:
        return NOT_MEASURED
    verdicts = [verdict(loss, at_most) for loss in losses]
    adjusted = holm([p_value(loss, at_most or 0.0) for loss in losses])
    certain = {each for each, p in zip(verdicts, adjusted, strict=True) if p < LEVEL}
    by_one, by_all = ("yes", "no") if some else ("no", "yes")
    if by_one in certain:
        return by_one
    return by_all if set(verdicts) == {by_all} else "open"


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
    adjusted = holm([p_value(loss) for _, loss in cases])
    worse = [label for (label, _), found in zip(cases, verdicts, strict=True) if found == "no"]
    certain = sum(p < LEVEL for p, found in zip(adjusted, verdicts, strict=True) if found == "no")
    names = f" ({', '.join(worse)}; {certain} after Holm's correction)" if worse else ""
    return (
        f"better in {verdicts.count('yes')} of {len(cases)} tables, worse in {len(worse)}{names}"
        f", not told apart in {verdicts.count('open')}; "
        f"median loss {100 * median(loss.value for _, loss in cases):+.1f} %"
    )


def difference(one: Interval, other: Interval) -> Interval:
    """One loss minus another of a different table, treated as independent."""
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, value - down, value + up)
