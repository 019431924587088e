"""Medians and intervals against scipy and simulation; rounds on a clock that the test sets."""

from __future__ import annotations

from functools import partial
from math import comb
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from memcom import profiling


class Clocked(nn.Embedding):
    """An embedding that takes a set time, on a clock that only it moves."""

    now = 0.0
    hiccups: ClassVar[list[bool]] = []

    def __init__(self, *args, seconds=1e-3):
        super().__init__(*args)
        self.seconds = seconds
        self.seen = []

    def forward(self, ids):
        self.seen.append(ids)
        late = 50.0 if Clocked.hiccups and Clocked.hiccups.pop(0) else 0.0
        Clocked.now += self.seconds + late
        return super().forward(ids)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time passes only inside `Clocked` layers."""
    Clocked.hiccups = []
    monkeypatch.setattr("memcom.profiling.timing.time.perf_counter", lambda: Clocked.now)


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


def recorded(calls, *names):
    """Candidates that take a second each, and write down the batch they got."""

    def candidate(name, batch):
        Clocked.now += 1.0
        calls.append((name, batch))

    return {name: partial(candidate, name) for name in names}


def test_the_baseline_is_the_first_and_all_take_every_turn():
    calls = []
    candidates = recorded(calls, "one", "two", "three")
    result = profiling.interleave(candidates, [7, 8], seconds=0.0, warm_up=2, least_rounds=6)
    assert list(result) == list(candidates)
    assert result["one"].ratio == 1.0
    rounds = [calls[k : k + 3] for k in range(0, len(calls), 3)]
    assert len(rounds) == 8
    assert all({name for name, _ in r} == set(candidates) for r in rounds)
    assert {b for _, b in calls} == {7, 8}
    assert len({tuple(name for name, _ in r) for r in rounds}) > 1


def test_candidates_of_a_round_may_share_a_batch():
    calls, made = [], iter(range(100))
    profiling.interleave(
        recorded(calls, "one", "two"), lambda: next(made), most_rounds=7, same_batch=True
    )
    assert [batch for _, batch in calls] == [k // 2 for k in range(2 * (3 + 7))]


def test_time_runs_out_after_the_least_rounds():
    rounds = [
        profiling.interleave(recorded([], "one"), [0], seconds=s, most_rounds=50)["one"].rounds
        for s in (0.0, 11.5, 1e9)
    ]
    assert rounds == [7, 12, 50]


# --- ids ------------------------------------------------------------------------------------------


def test_zipf_ids_are_zipf():
    ids = profiling.draw_ids("zipf", 50, 200_000)
    weights = [k**-1.05 for k in range(1, 51)]
    counts = ids.bincount(minlength=50) / len(ids)
    assert counts.tolist() == pytest.approx([w / sum(weights) for w in weights], abs=0.004)
    with pytest.raises(ValueError, match="'powerlaw'"):
        profiling.draw_ids("powerlaw", 50, 10)


# --- lookups --------------------------------------------------------------------------------------


def test_planted_slowness_is_measured():
    slow, fast = Clocked(100, 4, seconds=6e-3), Clocked(100, 4, seconds=2e-3)
    timing = profiling.time_lookup(slow, fast, batch_size=8, repeats=21, threads=1)
    assert (timing.median, timing.baseline_median) == pytest.approx((6e-3, 2e-3))
    assert (timing.ratio, *timing.interval) == pytest.approx((3, 3, 3))
    assert timing.median_interval == pytest.approx((6e-3, 6e-3))
    assert timing.rounds == 21
    assert all(word in str(timing) for word in ("3.00 times", "6,000 µs", "2,000 µs", "21"))


def test_a_few_hiccups_change_neither_median_nor_interval():
    slow, fast = Clocked(100, 4, seconds=6e-3), Clocked(100, 4, seconds=2e-3)
    Clocked.hiccups = [i % 11 == 0 for i in range(48)]  # both layers are hit
    timing = profiling.time_lookup(slow, fast, batch_size=8, repeats=21)
    assert (timing.ratio, *timing.interval) == pytest.approx((3, 3, 3))


def test_either_layer_goes_first_at_times():
    calls = []

    class Named(Clocked):
        def forward(self, ids):
            calls.append(self.name)
            return super().forward(ids)

    a, b = Named(10, 2), Named(10, 2)
    a.name, b.name = "a", "b"
    profiling.time_lookup(a, b, batch_size=2, repeats=20)
    rounds = [calls[k : k + 2] for k in range(0, len(calls), 2)]
    assert all(set(pair) == {"a", "b"} for pair in rounds)
    assert 5 < sum(pair[0] == "a" for pair in rounds) < 18


def test_both_get_the_same_fresh_ids_every_time():
    a, b = Clocked(1000, 4), Clocked(1000, 4)
    threads, gradients = torch.get_num_threads(), []
    a.weight.register_hook(gradients.append)
    profiling.time_lookup(a, b, batch_size=16, repeats=20, threads=1, backward=True)
    assert torch.get_num_threads() == threads
    assert len(gradients) == 23
    assert a.weight.grad is None
    assert all(map(torch.equal, a.seen, b.seen))
    assert len({tuple(ids.tolist()) for ids in a.seen}) == len(a.seen) == 23


def test_ids_follow_popularity():
    a, b = Clocked(4, 2), Clocked(4, 2)
    counts = np.array([6, 0, 3, 1])
    profiling.time_lookup(a, b, batch_size=2000, repeats=20, counts=counts)
    seen = torch.bincount(torch.cat(a.seen), minlength=4).numpy()
    assert np.allclose(seen / seen.sum(), counts / 10, atol=0.02)
    assert seen[1] == 0


def test_time_lookup_refuses_weak_claims():
    a, b = nn.Embedding(10, 2), nn.Embedding(11, 2)
    with pytest.raises(ValueError, match="at least 20"):
        profiling.time_lookup(a, a, repeats=5)
    with pytest.raises(ValueError, match="hold 10 and 11 ids"):
        profiling.time_lookup(a, b)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        profiling.time_lookup(a, a, batch_size=0)
    with pytest.raises(ValueError, match=r"shape \(10,\)"):
        profiling.time_lookup(a, a, counts=np.ones(3))
