"""Timing several ways of doing one thing so that the ratios between them can be believed.

A machine's speed drifts, caches remember who came before, and a mean believes outliers. So all ways
take turns, in a new random order every round and each with fresh ids; a way's ratio is taken to the
first way's time of the *same* round; and medians are given with an interval that assumes nothing
about the distribution.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np


class Timing(NamedTuple):
    """Medians over rounds, each with the ends of an interval of at least 95 %.

    Attributes:
        rounds: How many rounds were timed.
        seconds: Time of one call: median, low end, high end.
        ratio: The same for its ratio to the baseline's time of the round.
    """

    rounds: int
    seconds: tuple[float, float, float]
    ratio: tuple[float, float, float]


def interleave(
    ways: Mapping[str, Callable[[Any], object]],
    batches: Sequence[Any],
    *,
    seconds: float,
    warm_up: int = 3,
    least_rounds: int = 7,
    most_rounds: int = 400,
    seed: int = 0,
) -> dict[str, Timing]:
    """Time all ways in turns.

    Args:
        ways: Functions of a batch by name; the first one is the baseline.
        batches: Drawn from at random for every call, so that no way profits from another's ids.
        seconds: Stop when so much time has been spent.
        warm_up: Rounds that are not counted.
        least_rounds: Time at least so many rounds, whatever they take.
        most_rounds: Time at most so many.
        seed: Of the order and of the batches.

    Returns:
        A `Timing` for each way.
    """
    draw = random.Random(seed)
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(warm_up):
        for name in names:
            ways[name](draw.choice(batches))
    start = time.perf_counter()
    while len(times[names[0]]) < most_rounds:
        rounds = len(times[names[0]])
        if rounds >= least_rounds and time.perf_counter() - start > seconds:
            break
        for name in draw.sample(names, len(names)):
            batch = draw.choice(batches)
            before = time.perf_counter()
            result = ways[name](batch)
            times[name].append(time.perf_counter() - before)
            del result
    baseline = np.array(times[names[0]])
    return {
        name: Timing(
            len(spent), median_interval(spent), median_interval(np.array(spent) / baseline)
        )
        for name, spent in times.items()
    }


def median_interval(values: Any, coverage: float = 0.95) -> tuple[float, float, float]:
    """Median and an interval for it, by order statistics.

    The k-th smallest and k-th largest of n values enclose the true median with probability
    ``1 - 2 P(Binomial(n, 1/2) < k)``, whatever the distribution. The widest, all values, is given
    where none is wide enough.

    Args:
        values: At least one number.
        coverage: Probability that the interval holds the median.

    Returns:
        Median, low end, high end.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    # Of 2^n equally likely ways for the values to lie about the median, in whole numbers, since a
    # float holds none of them for n > 1023: `below` have at most `skip` values on one side.
    skip, chosen, below = 0, 1, 1
    few = Fraction(1 - coverage) / 2 * 2**n
    while below <= few:
        skip += 1
        chosen = chosen * (n - skip + 1) // skip
        below += chosen
    skip = max(0, skip - 1)
    return float(np.median(ordered)), float(ordered[skip]), float(ordered[n - 1 - skip])
