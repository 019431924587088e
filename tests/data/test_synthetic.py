from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memcom import data
from memcom.data.synthetic import RankNames, Taste, sample_zipf


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.3, 2.5])
@pytest.mark.parametrize("size", [1, 2, 50])
def test_sample_zipf_has_the_stated_law(size, exponent):
    draws = sample_zipf(size, 40_000, exponent, np.random.default_rng(1))
    assert draws.min() >= 0
    assert draws.max() < size
    law = np.arange(1, size + 1) ** -exponent
    expected = 40_000 * law / law.sum()
    seen = np.bincount(draws, minlength=size)
    if size > 1:
        assert stats.chisquare(seen, expected).pvalue > 1e-3


def test_sample_zipf_reaches_the_far_tail():
    draws = sample_zipf(10**8, 100_000, 1.0, np.random.default_rng(0))
    # Under Zipf's law the ranks up to k hold H(k) / H(size) of the draws.
    for k in (10, 10_000, 10**7):
        share = (np.log(k) + 0.5772) / (np.log(1e8) + 0.5772)
        assert (draws < k).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("size", "count", "exponent"), [(0, 1, 1.0), (1, -1, 1.0), (5, 5, -0.1), (5, 5, np.inf)]
)
def test_sample_zipf_refuses_nonsense(size, count, exponent):
    with pytest.raises(ValueError, match="need size >= 1"):
        sample_zipf(size, count, exponent, np.random.default_rng(0))


def test_factors_are_standardised_independent_and_reproducible():
    taste = Taste(rank=4, seed=3)
    factors = taste.item_factors(np.arange(50_000)).astype(np.float64)
    assert factors.mean(axis=0) == pytest.approx(0, abs=0.02)
    assert np.cov(factors.T) == pytest.approx(np.eye(4), abs=0.02)
    far = np.array([10**8 - 1, 7])
    assert np.array_equal(taste.item_factors(far)[1], taste.item_factors(np.array([7]))[0])
    assert not np.array_equal(taste.item_factors(far), taste.user_factors(far))
    assert not np.array_equal(taste.item_factors(far), Taste(4, seed=4).item_factors(far))


def test_affinity_is_the_scaled_dot_product():
    taste = Taste(rank=3, strength=5.0)
    users, items = np.arange(4), np.arange(10, 16)
    expected = 5.0 / np.sqrt(3) * taste.user_factors(users) @ taste.item_factors(items).T
    assert taste.affinity(users[:, None], items[None]) == pytest.approx(expected, rel=1e-5)


def test_users_take_what_suits_their_taste():
    made = data.load("synthetic", num_items=500, num_users=300, strength=3.0)
    taste = Taste(rank=8, strength=3.0)
    assert made.item_keys is not None
    users = made.user_names.astype(np.int64)[made.user]
    chosen = taste.affinity(users, made.item_keys[made.item]).mean()
    indifferent = data.load("synthetic", num_items=500, num_users=300, strength=0.0)
    users = indifferent.user_names.astype(np.int64)[indifferent.user]
    keys = indifferent.item_keys[indifferent.item]
    assert chosen > 1.0
    assert taste.affinity(users, keys).mean() == pytest.approx(0, abs=0.1)


def test_made_interactions_keep_the_contract():
    made = data.load("synthetic", num_items=3_000, num_users=100, seed=5)
    assert (made.num_items, made.num_users) == (3_000, 100)
    counted = np.bincount(made.item[made.split == data.TRAIN], minlength=3_000)
    assert np.array_equal(counted, made.item_counts)
    assert (np.diff(made.item_counts) <= 0).all()
    assert sorted(made.item_keys) == list(range(3_000))
    again = data.load("synthetic", num_items=3_000, num_users=100, seed=5)
    assert np.array_equal(again.item, made.item)
    other = data.load("synthetic", num_items=3_000, num_users=100, seed=6)
    assert not np.array_equal(other.item_keys, made.item_keys)


@pytest.mark.parametrize(
    ("option", "value"),
    [("num_items", 0), ("num_items", 10**8 + 1), ("num_users", 0), ("rank", 0), ("candidates", 0)],
)
def test_a_size_out_of_range_is_named(option, value):
    with pytest.raises(ValueError, match=f"{option} is {value}; it must be 1 to"):
        data.load("synthetic", **{option: value})


@given(st.data(), st.integers(1, 40))
def test_rank_names_are_the_seen_then_the_others_in_order(draw, size):
    seen = draw.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=size))
    names = RankNames(np.array(seen, dtype=np.int64), size)
    expected = seen + [rank for rank in range(size) if rank not in seen]
    assert names[:].tolist() == expected
    assert [int(names[i]) for i in range(size)] == expected
    assert int(names[-1]) == expected[-1]
    with pytest.raises(IndexError, match=f"id {size} is out of range; valid ids are 0 to"):
        names[size]


def test_a_hundred_million_items_cost_almost_nothing():
    program = """
import resource
from memcom import data
data.load("synthetic", num_items=1000, num_users=50)  # pay for the imports
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = data.load("synthetic", num_items=10**8, num_users=400, interactions_per_user=50)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert made.num_items == len(made.item_counts) == len(made.item_names) == 10**8
assert int(made.item_keys[made.item[0]]) < 10**8
print(after - before)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    kib = int(run.stdout) // (1024 if sys.platform == "darwin" else 1)
    assert kib < 100 * 1024  # the full table of counts alone would be 781 MiB
