"""Birthday counts against simulation, enumeration and closed forms."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from memcom import collisions
from memcom.collisions.theory import code_classes, combine_classes, expected_collisions


def simulate(n, draw, trials=4000):
    """Distinct codes and colliding pairs of `trials` random hashes."""
    rng = np.random.default_rng(7)
    distinct, pairs = [], []
    for _ in range(trials):
        sizes = np.unique(draw(rng, n), axis=0, return_counts=True)[1]
        distinct.append(len(sizes))
        pairs.append((sizes * (sizes - 1) // 2).sum())
    return np.array(distinct), np.array(pairs)


@pytest.mark.parametrize(("n", "m"), [(30, 500), (60, 40), (400, 10), (23, 365)])
def test_expectations_match_simulated_hashing(n, m):
    distinct, pairs = simulate(n, lambda rng, n: rng.integers(0, m, n))
    expected = expected_collisions(n, m)
    assert expected.distinct == pytest.approx(distinct.mean(), rel=0.01)
    assert expected.pairs == pytest.approx(pairs.mean(), rel=0.03)
    assert expected.any_pair == pytest.approx((pairs > 0).mean(), abs=0.03)
    for values, (low, high) in (
        (distinct, expected.distinct_interval),
        (pairs, expected.pairs_interval),
    ):
        inside = ((values >= np.floor(low)) & (values <= np.ceil(high))).mean()
        assert inside > 0.93  # discrete: at least about 95 %
        middle = low + (high - low) * np.array([0.3, 0.7])
        assert ((values >= middle[0]) & (values <= middle[1])).mean() < 0.9 or high - low < 4


def test_the_birthday_problem():
    assert expected_collisions(23, 365).any_pair == pytest.approx(0.507297, abs=1e-6)
    assert expected_collisions(366, 365).any_pair == 1.0
    assert expected_collisions(1, 1).any_pair == 0.0
    assert expected_collisions(5, 1).distinct == 1.0


def test_multisets_are_not_equally_likely():
    n, m, reads = 80, 6, 3
    distinct, pairs = simulate(n, lambda rng, n: np.sort(rng.integers(0, m, (n, reads)), axis=1))
    expected = expected_collisions(n, classes=code_classes(m, reads, ordered=False))
    assert expected.distinct == pytest.approx(distinct.mean(), rel=0.01)
    assert expected.pairs == pytest.approx(pairs.mean(), rel=0.03)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 7), reads=st.integers(1, 4))
def test_distinct_codes_counts_what_enumeration_finds(rows, reads):
    sequences = list(product(range(rows), repeat=reads))
    multisets = {tuple(sorted(s)) for s in sequences}
    assert collisions.distinct_codes(rows, reads, ordered=True) == len(sequences)
    assert collisions.distinct_codes(rows, reads, ordered=False) == len(multisets)
    classes = code_classes(rows, reads, ordered=False)
    assert sum(number for number, _ in classes) == len(multisets)
    assert sum(number * p for number, p in classes) == pytest.approx(1.0)


def test_shared_and_summed_binary_codes_of_24_bits():
    assert collisions.distinct_codes(2**8, 3, ordered=False) == 2_829_056
    assert collisions.distinct_codes(2**8, 3, ordered=True) == 16_777_216


def test_birthday_pairs_of_quantised_multipliers():
    for levels, pairs in ((2**8, 3.05), (2**10, 0.76), (2**16, 0.012)):
        assert collisions.birthday_pairs(40, levels) == pytest.approx(pairs, rel=0.01)
    assert collisions.birthday_pairs(np.array([1000, 1]), 2**16) == pytest.approx(7.62, abs=0.01)


@pytest.mark.parametrize(
    "call",
    [
        lambda: collisions.distinct_codes(0, 3, ordered=True),
        lambda: collisions.birthday_pairs(3, 0),
        lambda: expected_collisions(-1, 5),
        lambda: expected_collisions(5),
        lambda: expected_collisions(5, 5, classes=[(5, 0.2)]),
    ],
)
def test_theory_refuses_nonsense(call):
    with pytest.raises(ValueError, match=r"must be|exactly one"):
        call()


def test_combining_tables_multiplies():
    classes = combine_classes([code_classes(4), code_classes(5, 2, ordered=False)])
    assert sum(number for number, _ in classes) == 4 * 15


@pytest.mark.parametrize("m", [2, 6, 40])
def test_the_range_of_pairs_in_full_buckets_is_that_of_chi_square(m):
    """Pearson's statistic of bucket sizes, (m / n) sum (size - n / m)^2, counts excess pairs."""
    n = 100_000
    fewest = n * (n / m - 1) / 2
    excess = stats.chi2.ppf([0.025, 0.975], m - 1) * n / m / 2
    found = np.array(expected_collisions(n, m).pairs_interval)
    assert found - fewest == pytest.approx(excess, rel=1e-3)
