"""Rounds, ratios and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import interleave
from benchmarks.timing import median_interval


@pytest.mark.parametrize("n", [1, 5, 6, 9, 25, 100, 3000])
def test_the_interval_is_the_narrowest_of_its_coverage(n):
    values = np.random.default_rng(n).permutation(n)
    middle, low, high = median_interval(values)
    assert middle == np.median(values)
    assert low == n - 1 - high
    # The interval misses the median if at most `low` values lie on one of its sides.
    if low > 0:
        assert 2 * stats.binom.cdf(low, n, 0.5) <= 0.05
    assert 2 * stats.binom.cdf(low + 1, n, 0.5) > 0.05


def test_the_baseline_is_the_first_and_everyone_takes_every_turn():
    calls = []
    ways = {name: lambda b, name=name: calls.append((name, b)) for name in ("one", "two", "three")}
    result = interleave(ways, [7, 8], seconds=0.0, warm_up=2, least_rounds=5)
    assert list(result) == list(ways)
    assert result["one"].ratio == (1.0, 1.0, 1.0)
    rounds = [calls[k : k + 3] for k in range(0, len(calls), 3)]
    assert len(rounds) == 7
    assert all({name for name, _ in r} == set(ways) for r in rounds)
    assert {b for _, b in calls} == {7, 8}
    assert len({tuple(name for name, _ in r) for r in rounds[2:]}) > 1


def test_a_slower_way_has_the_greater_ratio():
    ways = {"short": lambda b: sum(range(1000)), "long": lambda b: sum(range(20_000))}
    timing = interleave(ways, [0], seconds=0.05, least_rounds=15)["long"]
    assert 2 < timing.ratio[1] <= timing.ratio[0] <= timing.ratio[2]
