"""Intervals, bootstrap, paired tests and Holm's correction against SciPy and the textbook."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from memcom.sweep import bootstrap, holm, mean_interval, paired_tests
from memcom.sweep.statistics import percentiles


@pytest.mark.parametrize("n", [2, 3, 5, 22, 200])
def test_mean_interval_is_students(n):
    values = np.random.default_rng(n).normal(size=n)
    mean, half = mean_interval(values)
    low, high = stats.t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / math.sqrt(n))
    assert mean == pytest.approx(values.mean())
    assert half == pytest.approx((high - low) / 2)


def test_one_value_has_no_interval_and_none_is_an_error():
    mean, half = mean_interval([0.25])
    assert mean == 0.25
    assert math.isnan(half)
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])


@pytest.fixture
def users():
    return np.random.default_rng(1).gamma(1.0, size=(1, 400))


def test_one_seed_is_the_ordinary_bootstrap_over_users(users):
    drawn = bootstrap({"a": users}, draws=4000)["a"]
    expected = stats.bootstrap((users[0],), np.mean, method="percentile", n_resamples=4000)
    low, high = expected.confidence_interval
    ours = percentiles(float(users.mean()), drawn)
    assert drawn.std() == pytest.approx(users.std() / math.sqrt(400), rel=0.05)
    assert ours.low == pytest.approx(low, abs=0.02)
    assert ours.high == pytest.approx(high, abs=0.02)


def test_seeds_are_drawn_as_well():
    # Users all alike: what is left is the spread of means of three seeds with replacement.
    seeds = np.array([1.0, 2.0, 6.0])
    drawn = bootstrap({"a": np.tile(seeds[:, None], (1, 7))}, draws=20_000)["a"]
    every = [np.mean(seeds[[i, j, k]]) for i in range(3) for j in range(3) for k in range(3)]
    assert set(np.round(drawn, 9)) == set(np.round(every, 9))
    assert drawn.mean() == pytest.approx(np.mean(every), abs=0.03)
    assert drawn.var() == pytest.approx(np.var(every), rel=0.03)


def test_users_are_the_same_for_all_names(users):
    drawn = bootstrap({"a": users, "b": 2 * users, "c": users + 1})
    np.testing.assert_allclose(drawn["b"], 2 * drawn["a"], rtol=1e-12)
    np.testing.assert_allclose(drawn["c"], drawn["a"] + 1, rtol=1e-12)


def test_draws_do_not_depend_on_the_other_names(users):
    seeds = np.concatenate([users, users**2, users**3])
    both = bootstrap({"a": seeds, "b": seeds[:, ::-1]}, draws=120)
    assert both["a"].shape == (120,)
    np.testing.assert_allclose(bootstrap({"a": seeds}, draws=120)["a"], both["a"], rtol=1e-12)


def test_the_bootstrap_refuses_what_is_not_paired(users):
    for other in (users[:, :-1], np.empty((0, 400))):
        with pytest.raises(ValueError, match="same users"):
            bootstrap({"a": users, "b": other})


def test_paired_tests_are_those_of_scipy():
    rng = np.random.default_rng(2)
    full = rng.random(60)
    other = full - 0.05 + 0.2 * rng.normal(size=60)
    wilcoxon, t = paired_tests(other, full)
    assert wilcoxon == pytest.approx(stats.wilcoxon(other, full).pvalue, rel=1e-12)
    assert t == pytest.approx(stats.ttest_rel(other, full).pvalue, rel=1e-12)


def test_paired_tests_without_any_difference():
    same = np.linspace(0, 1, 9)
    assert paired_tests(same, same) == (1.0, 1.0)
    assert all(map(math.isnan, paired_tests(same[:1], same[:1])))


def test_holm_by_hand():
    # 0.01 * 4, then 0.03 * 3, 0.04 * 2 raised to the one before, 0.5 * 1.
    adjusted = holm([0.04, 0.01, math.nan, 0.5, 0.03])
    assert adjusted[:2] == pytest.approx([0.09, 0.04])
    assert math.isnan(adjusted[2])
    assert adjusted[3:] == pytest.approx([0.5, 0.09])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
