"""Ids by popularity; lookups on a clock that only layers move."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from memcom import build, profiling


class Clocked(nn.Embedding):
    """An embedding that takes a set time on the clock, and keeps the ids it saw."""

    def __init__(self, clock, *args, seconds=1e-3):
        super().__init__(*args)
        self.clock, self.seconds, self.seen = clock, seconds, []

    def forward(self, ids):
        self.seen.append(ids)
        self.clock.now += self.seconds
        return super().forward(ids)


def test_zipf_ids_are_zipf():
    ids = profiling.draw_ids("zipf", 50, 200_000)
    weights = [k**-1.05 for k in range(1, 51)]
    counts = ids.bincount(minlength=50) / len(ids)
    assert counts.tolist() == pytest.approx([w / sum(weights) for w in weights], abs=0.004)
    with pytest.raises(ValueError, match="'powerlaw'"):
        profiling.draw_ids("powerlaw", 50, 10)


def test_planted_slowness_is_measured(clock):
    slow, fast = Clocked(clock, 100, 4, seconds=6e-3), Clocked(clock, 100, 4, seconds=2e-3)
    timing = profiling.time_lookup(slow, fast, batch_size=8, repeats=21, threads=1)
    assert (timing.median, timing.baseline_median) == pytest.approx((6e-3, 2e-3))
    assert (timing.ratio, *timing.interval) == pytest.approx((3, 3, 3))
    assert timing.median_interval == pytest.approx((6e-3, 6e-3))
    assert timing.rounds == 21
    assert all(word in str(timing) for word in ("3.00 times", "6,000 µs", "2,000 µs", "21"))


def late_at_times(clock):
    """A hook that takes 50 s at every eleventh call."""
    calls = itertools.count()

    def hook(*_):
        clock.now += 50.0 * (next(calls) % 11 == 0)

    return hook


def test_a_few_hiccups_change_neither_median_nor_interval(clock):
    slow, fast = Clocked(clock, 100, 4, seconds=6e-3), Clocked(clock, 100, 4, seconds=2e-3)
    for layer in (slow, fast):
        layer.register_forward_hook(late_at_times(clock))
    timing = profiling.time_lookup(slow, fast, batch_size=8, repeats=21)
    assert (timing.ratio, *timing.interval) == pytest.approx((3, 3, 3))


def test_either_layer_goes_first_at_times(clock):
    calls = []

    class Named(Clocked):
        def forward(self, ids):
            calls.append(self.name)
            return super().forward(ids)

    a, b = Named(clock, 10, 2), Named(clock, 10, 2)
    a.name, b.name = "a", "b"
    profiling.time_lookup(a, b, batch_size=2, repeats=20)
    rounds = [calls[k : k + 2] for k in range(0, len(calls), 2)]
    assert all(set(pair) == {"a", "b"} for pair in rounds)
    assert 5 < sum(pair[0] == "a" for pair in rounds) < 18


def test_both_get_the_same_fresh_ids_every_time(clock):
    a, b = Clocked(clock, 1000, 4), Clocked(clock, 1000, 4)
    threads, gradients = torch.get_num_threads(), []
    a.weight.register_hook(gradients.append)
    profiling.time_lookup(a, b, batch_size=16, repeats=20, threads=1, backward=True)
    assert torch.get_num_threads() == threads
    assert len(gradients) == 23
    assert a.weight.grad is None
    assert all(map(torch.equal, a.seen, b.seen))
    assert len({tuple(ids.tolist()) for ids in a.seen}) == len(a.seen) == 23


def test_ids_follow_popularity(clock):
    a, b = Clocked(clock, 4, 2), Clocked(clock, 4, 2)
    counts = np.array([6, 0, 3, 1])
    profiling.time_lookup(a, b, batch_size=2000, repeats=20, counts=counts)
    seen = torch.bincount(torch.cat(a.seen), minlength=4).numpy()
    assert np.allclose(seen / seen.sum(), counts / 10, atol=0.02)
    assert seen[1] == 0


def test_time_lookup_refuses_weak_claims():
    a, b = nn.Embedding(10, 2), nn.Embedding(11, 2)
    with pytest.raises(ValueError, match=">= 20"):
        profiling.time_lookup(a, a, repeats=5)
    with pytest.raises(ValueError, match="hold 10 and 11 ids"):
        profiling.time_lookup(a, b)
    with pytest.raises(ValueError, match="batch_size must be >= 1"):
        profiling.time_lookup(a, a, batch_size=0)
    with pytest.raises(ValueError, match=r"shape \(10,\)"):
        profiling.time_lookup(a, a, counts=np.ones(3))


def test_a_packed_layer_is_timed_too():
    """It has buffers, and no parameter."""
    packed = build("full", 100, 8, bits=4).freeze()
    found = profiling.time_lookup(packed, nn.Embedding(100, 8), 16, repeats=20)
    assert found.ratio > 0
