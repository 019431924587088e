from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcom.data.ordering import (
    by_frequency,
    encode,
    hash_key,
    mix64,
    split_at_times,
    split_by_hash,
    split_per_user,
)


def test_mix64_is_the_published_generator():
    # The first outputs of SplitMix64 seeded with 1234567.
    golden = 0x9E3779B97F4A7C15
    states = [(1234567 + step * golden) % 2**64 for step in range(3)]
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert mix64(np.array(states, dtype=np.uint64)).tolist() == expected


def test_mix64_takes_seeds_and_keeps_distinct_values_distinct():
    values = np.arange(100_000)
    assert len(np.unique(mix64(values, seed=5))) == len(values)
    assert not np.array_equal(mix64(values, 1), mix64(values, 2))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_by_frequency_agrees_with_a_counter(rows):
    codes = np.array([code for code, _ in rows])
    train = np.array([flag for _, flag in rows])
    vocabulary = by_frequency(codes, 12, train)  # codes 10 and 11 never occur
    counted = Counter(codes[train].tolist())
    expected = sorted(range(12), key=lambda code: (-counted[code], code))
    assert vocabulary.order.tolist() == expected
    assert vocabulary.counts.tolist() == [counted[code] for code in expected]
    assert vocabulary.order[vocabulary.ids].tolist() == codes.tolist()


def test_by_frequency_weighs_rows():
    codes = np.array([0, 1, 1, 2])
    vocabulary = by_frequency(codes, 3, np.array([True] * 4), weight=np.array([5, 1, 1, 9]))
    assert vocabulary.order.tolist() == [2, 0, 1]
    assert vocabulary.counts.tolist() == [9, 5, 2]


def test_encode_numbers_in_ascending_order():
    codes, uniques = encode(np.array(["b", "a", "b", "c"], dtype=object))
    assert codes.tolist() == [1, 0, 1, 2]
    assert uniques.tolist() == ["a", "b", "c"]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=80))
def test_split_per_user_agrees_with_sorting_each_user_by_hand(rows):
    user = np.array([row[0] for row in rows])
    key = np.array([row[1] for row in rows])
    tie = np.arange(len(rows))
    split = split_per_user(user, key, tie)
    for who in set(user.tolist()):
        mine = sorted((key[r], tie[r], split[r]) for r in range(len(rows)) if user[r] == who)
        k = len(mine)
        test = max(1, k // 5) if k >= 5 else 0
        valid = max(1, k // 10) if k >= 5 else 0
        expected = [0] * (k - valid - test) + [1] * valid + [2] * test
        assert [part for *_, part in mine] == expected


def test_split_per_user_can_leave_out_a_part():
    user = np.zeros(20, dtype=np.int64)
    split = split_per_user(user, np.arange(20), np.arange(20), test=0)
    assert np.bincount(split, minlength=3).tolist() == [18, 2, 0]


@given(st.lists(st.integers(0, 30), max_size=100))
def test_split_at_times_never_lets_a_moment_straddle(times):
    time = np.array(times, dtype=np.int64)
    split = split_at_times(time)
    for earlier in (0, 1):
        before, after = time[split == earlier], time[split > earlier]
        if len(before) and len(after):
            assert before.max() < after.min()


def test_split_at_times_has_the_asked_shares_without_ties():
    split = split_at_times(np.random.default_rng(0).permutation(1000))
    assert np.bincount(split).tolist() == [700, 100, 200]


def test_split_by_hash_depends_on_the_key_alone():
    key = hash_key(np.arange(5000), np.arange(5000) % 7, seed=3)
    split = split_by_hash(key)
    shuffled = np.random.default_rng(0).permutation(5000)
    assert np.array_equal(split_by_hash(key[shuffled]), split[shuffled])
    assert np.bincount(split) / 5000 == pytest.approx([0.7, 0.1, 0.2], abs=0.02)
