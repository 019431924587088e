"""Medians and intervals against scipy and simulation; rounds on a clock that the test sets."""

from __future__ import annotations

from functools import partial
from math import comb

import numpy as np
import pytest

from memcom import profiling

# --- the interval of a median ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 7, 20, 101, 400])
def test_the_interval_is_the_narrowest_of_its_coverage(n):
    values = np.random.default_rng(n).permutation(n)
    low, high = profiling.median_interval(values)
    assert low == n - 1 - high
    # It misses the median if at most `low` of n values lie on one of its sides.
    missed = [2 * sum(comb(n, k) for k in range(int(cut) + 1)) for cut in (low, low + 1)]
    assert missed[0] <= 0.05 * 2**n < missed[1]


@pytest.mark.parametrize("n", [6, 20, 101])
def test_the_interval_covers_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    ends = [profiling.median_interval(rng.exponential(size=n)) for _ in range(1000)]
    inside = np.mean([low <= np.log(2) <= high for low, high in ends])
    assert 0.935 <= inside <= 0.985


def test_five_values_give_no_interval():
    with pytest.raises(ValueError, match="5 values"):
        profiling.median_interval(np.ones(5))
    with pytest.raises(ValueError, match=r"least_rounds .* got 5"):
        profiling.interleave({"one": id}, [0], least_rounds=5)


# --- rounds ---------------------------------------------------------------------------------------


def recorded(clock, calls, *names):
    """Candidates that take a second each, and write down the batch they got."""

    def candidate(name, batch):
        clock.now += 1.0
        calls.append((name, batch))

    return {name: partial(candidate, name) for name in names}


def test_the_baseline_is_the_first_and_all_take_every_turn(clock):
    calls = []
    candidates = recorded(clock, calls, "one", "two", "three")
    result = profiling.interleave(candidates, [7, 8], seconds=0.0, warm_up=2, least_rounds=6)
    assert list(result) == list(candidates)
    assert result["one"].ratio == 1.0
    rounds = [calls[k : k + 3] for k in range(0, len(calls), 3)]
    assert len(rounds) == 8
    assert all({name for name, _ in r} == set(candidates) for r in rounds)
    assert {b for _, b in calls} == {7, 8}
    assert len({tuple(name for name, _ in r) for r in rounds}) > 1


def test_candidates_of_a_round_may_share_a_batch(clock):
    calls, made = [], iter(range(100))
    profiling.interleave(
        recorded(clock, calls, "one", "two"), lambda: next(made), most_rounds=7, same_batch=True
    )
    assert [batch for _, batch in calls] == [k // 2 for k in range(2 * (3 + 7))]


def test_time_runs_out_after_the_least_rounds(clock):
    rounds = [
        profiling.interleave(recorded(clock, [], "one"), [0], seconds=s, most_rounds=50)[
            "one"
        ].rounds
        for s in (0.0, 11.5, 1e9)
    ]
    assert rounds == [7, 12, 50]
