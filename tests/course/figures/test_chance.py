"""Counts and chance: the bars are the counts, the lines the formulas of probability."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from scipy import stats

import memcom
from memcom import collisions
from memcom.course import figures
from memcom.course.figures import equal_after_rounding, rounding_collisions


def test_bucket_occupancy_draws_sizes_and_binomial_expectation():
    n, m = 3000, 200
    report = collisions.report(memcom.HashingTrickEmbedding(n, 4, num_buckets=m))
    ax = figures.bucket_occupancy(report).axes[0]
    drawn = {round(b.get_x() + b.get_width() / 2): b.get_height() for b in ax.patches}
    members = np.bincount(
        memcom.HashingTrickEmbedding(n, 4, num_buckets=m).addresses(torch.arange(n))["table"],
        minlength=m,
    )
    sizes, counts = np.unique(members, return_counts=True)
    assert {k: v for k, v in drawn.items() if v} == dict(
        zip(sizes.tolist(), counts.tolist(), strict=True)
    )
    x, y = ax.lines[0].get_data()
    assert np.allclose(y, m * stats.binom.pmf(x, n, 1 / m), rtol=1e-6)


def test_bucket_occupancy_bins_long_ranges_without_losing_rows():
    report = collisions.report(memcom.QREmbedding(20_000, 4, num_remainders=2500))
    figure = figures.bucket_occupancy(report)
    assert [sum(b.get_height() for b in ax.patches) for ax in figure.axes] == [2500, 8]
    assert "bars of" in figure.axes[1].get_xlabel()


def test_bucket_occupancy_has_nothing_to_say_of_a_full_table():
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.bucket_occupancy(collisions.report(memcom.FullEmbedding(10, 2)))


@pytest.mark.parametrize("what", ["pairs", "distinct"])
def test_expected_figure_draws_the_birthday_curve(what):
    n, sizes = 100, [50, 400, 3000]
    figure = figures.expected_against_observed(n, sizes, {"hash": [99, 40, 12]}, what=what)
    ax = figure.axes[0]
    lines = {line.get_label(): line.get_data() for line in ax.lines}
    x, y = lines["expected"]
    m = x.astype(float)
    formula = n * (n - 1) / (2 * m) if what == "pairs" else m * (1 - (1 - 1 / m) ** n)
    assert np.allclose(y, formula)
    x, y = lines["hashing trick, counted"]
    assert (x.tolist(), y.tolist()) == (sizes, [99, 40, 12])
    with pytest.raises(ValueError, match="got 'x'"):
        figures.expected_against_observed(n, sizes, {}, what="x")
    with pytest.raises(ValueError, match="hash has 1 values for 3 sizes"):
        figures.expected_against_observed(n, sizes, {"hash": [1]})


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_equal_after_rounding_against_all_pairs(bits):
    random = np.random.default_rng(2)
    values, bucket = random.normal(size=80), random.integers(5, size=80)
    step = (values.max() - values.min()) / (2**bits - 1)
    level = np.rint((values - values.min()) / step)
    expected = sum(
        bucket[a] == bucket[b] and level[a] == level[b]
        for a, b in itertools.combinations(range(80), 2)
    )
    assert equal_after_rounding(values, bucket, bits) == expected


def test_rounding_of_equal_values_keeps_them_equal():
    assert equal_after_rounding(np.ones(5), np.array([0, 0, 0, 1, 1]), 8) == 3 + 1


def test_rounding_picture_holds_counts_and_chance():
    random = np.random.default_rng(3)
    values, bucket = random.normal(size=500), random.integers(20, size=500)
    counted, expected, *_ = rounding_collisions(values, bucket, bits=(2, 4, 6)).axes[0].lines
    assert counted.get_ydata().tolist() == [
        equal_after_rounding(values, bucket, bits) for bits in (2, 4, 6)
    ]
    sizes = np.bincount(bucket)
    assert expected.get_ydata()[1] == pytest.approx((sizes * (sizes - 1)).sum() / 2 / 16)
