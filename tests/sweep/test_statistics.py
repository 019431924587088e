"""Intervals, bootstrap, paired tests and Holm's correction against SciPy and the textbook."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from memcom.sweep import Interval, bootstrap, holm, mean_interval, p_value
from memcom.sweep.statistics import SMALLEST_P, moderated, percentiles, seed_spreads


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


def test_seeds_add_an_error_of_their_variance():
    # Users all alike: what is left is Student's t. Two names as far apart by seed: one variance.
    seeds = {"a": np.array([1.0, 3.0, 5.0]), "b": np.array([10.0, 6.0, 2.0]), "c": np.array([5.0])}
    values = {name: np.tile(each[:, None], (1, 7)) for name, each in seeds.items()}
    drawn = bootstrap(values, draws=40_000)
    assert seed_spreads(values) == {"a": pytest.approx((2 / 3, 4)), "b": pytest.approx((2 / 3, 4))}
    for name, mean in (("a", 3), ("b", 6)):
        low, high = stats.t.interval(0.95, 4, mean, mean * 2 / 3 / math.sqrt(3))
        ours = percentiles(mean, drawn[name])
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert set(drawn["c"]) == {5.0}


def test_the_noise_of_single_users_is_none_of_the_seeds():
    """Components of variance by the textbook's sums of squares, and by what they were made of."""
    rng = np.random.default_rng(4)
    made = 1 + 0.3 * rng.normal(size=500) + 0.2 * rng.normal(size=(400, 1))
    made = made + 0.9 * rng.normal(size=(400, 500))
    of_seed = 500 * ((made.mean(1) - made.mean()) ** 2).sum() / 399
    rest = made - made.mean(1, keepdims=True) - made.mean(0) + made.mean()
    expected = math.sqrt((of_seed - (rest**2).sum() / 399 / 499) / 500) / made.mean()
    assert seed_spreads({"a": made}) == {"a": pytest.approx((expected, 399))}
    assert expected == pytest.approx(0.2, rel=0.15)


def test_moderated_variances_give_students_t():
    """Made as the model says: means over the root of the variances are t, of all freedoms."""
    rng, prior, usual, n = np.random.default_rng(5), 6.0, 0.04, 4000
    true = prior * usual / rng.chisquare(prior, n)
    given = true * rng.chisquare(2, n) / 2
    found, freedom = moderated(given, np.full(n, 2.0))
    assert freedom == pytest.approx(np.full(n, 8.0), rel=0.15)
    assert np.median(found - 0.25 * given) == pytest.approx(0.75 * usual, rel=0.1)
    quotients = np.sqrt(true) * rng.normal(size=n) / np.sqrt(found)
    assert stats.kstest(quotients, stats.t(8).cdf).pvalue > 0.01


def test_variances_that_differ_by_chance_have_one_mean():
    found, freedom = moderated(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 2.0]))
    assert found == pytest.approx([2.0] * 3)
    assert freedom == pytest.approx([8.0] * 3)
    assert moderated(np.zeros(2), np.ones(2))[0].tolist() == [0, 0]
    assert moderated(np.array([3.0]), np.array([2.0])) == (np.array([3.0]), np.array([2.0]))


@pytest.mark.parametrize(
    ("of_seeds", "of_runs", "uneven"),
    [(0.0, 0.0, 0), (0.01, 0.3, 0), (0.03, 0.0, 0), (0.02, 1.0, 0), (0.02, 0.3, 1)],
)
def test_intervals_of_losses_cover_what_they_should(of_seeds, of_runs, uneven):
    """Tables made up with known losses: 95 % of the intervals hold them, with three seeds."""
    rng, hits = np.random.default_rng(7), []
    truth = np.linspace(1, 0.7, 9)
    for _ in range(150):
        liking = rng.gamma(2.0, 0.5, 200)  # of users, the same for all methods
        values = {}
        for place, mean in enumerate(truth):
            taste = liking + 0.2 * rng.normal(size=200)  # of users for this method
            run = taste + of_runs * rng.normal(size=(3, 200))
            spread = of_seeds * (1 + 3 * uneven * (place in (3, 6)))
            values[place] = mean * run * (1 + spread * rng.normal(size=(3, 1)))
        drawn = bootstrap(values, draws=400)
        for place in range(1, 9):
            low, high = np.percentile(1 - drawn[place] / drawn[0], [2.5, 97.5])
            hits.append(low <= 1 - truth[place] / truth[0] <= high)
    assert 0.93 <= np.mean(hits) <= 0.97


def test_users_are_the_same_for_all_names(users):
    drawn = bootstrap({"a": users, "b": 2 * users, "c": users + 1})
    np.testing.assert_allclose(drawn["b"], 2 * drawn["a"], rtol=1e-12)
    np.testing.assert_allclose(drawn["c"], drawn["a"] + 1, rtol=1e-12)


def test_draws_of_users_do_not_depend_on_the_other_names(users):
    both = bootstrap({"a": users, "b": users[:, ::-1]}, draws=120)
    assert both["a"].shape == (120,)
    alone = bootstrap({"a": users}, draws=120)
    np.testing.assert_allclose(alone["a"], both["a"], rtol=1e-12)


def test_the_bootstrap_refuses_what_is_not_paired(users):
    for other in (users[:, :-1], np.empty((0, 400))):
        with pytest.raises(ValueError, match="same users"):
            bootstrap({"a": users, "b": other})


@pytest.mark.parametrize("freedom", [2, 4, 50])
@pytest.mark.parametrize("value", [0.01, -0.03, 0.09])
def test_a_p_value_is_that_of_the_interval(value, freedom):
    made = np.array([-1.0, 0.0, 1.0]) * 0.02 * math.sqrt(3) + value  # standard error 0.02
    low, high = stats.t.interval(0.95, freedom, value, 0.02)
    p = p_value(Interval(value, low, high), freedom=freedom)
    assert (p < 0.05) == (low > 0 or high < 0)
    if freedom == 2:
        assert p == pytest.approx(stats.ttest_1samp(made, 0).pvalue)
        at = stats.ttest_1samp(made, 0.02).pvalue
        assert p_value(Interval(value, low, high), 0.02, freedom=2) == pytest.approx(at)


def test_p_values_at_the_ends_of_what_they_can_be():
    assert math.isnan(p_value(Interval(0.1, math.nan, math.nan)))
    assert p_value(Interval(0.5, 0.4999, 0.5001)) == SMALLEST_P
    assert p_value(Interval(0.5, 0.5, 0.5)) == SMALLEST_P
    assert p_value(Interval(0.0, 0.0, 0.0)) == 1.0


def test_holm_by_hand():
    # 0.01 * 4, then 0.03 * 3, 0.04 * 2 raised to the one before, 0.5 * 1.
    adjusted = holm([0.04, 0.01, math.nan, 0.5, 0.03])
    assert adjusted[:2] == pytest.approx([0.09, 0.04])
    assert math.isnan(adjusted[2])
    assert adjusted[3:] == pytest.approx([0.5, 0.09])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
