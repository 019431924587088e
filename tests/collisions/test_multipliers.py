"""Gaps between multipliers of a bucket against brute force and birthday counts."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from memcom import collisions
from memcom.collisions.multipliers import round_column
from tests.collisions.fakes import Fake, memcom_fake


def test_multiplier_gaps_equal_brute_force():
    rng = np.random.default_rng(3)
    values = np.round(rng.standard_normal(200), 2).astype(np.float32)
    report = collisions.multiplier_gaps(
        memcom_fake(values, 7), eps=(1e-6, 0.015), roundings=["none"]
    )
    (plain,) = report.by_rounding
    wanted, equal = [], 0
    for bucket in range(7):
        v = np.sort(values[bucket::7].astype(np.float64))
        wanted += [*np.diff(v)]
        equal += sum(a == b for a, b in combinations(v, 2))
    assert plain.equal_pairs == equal > 0
    assert plain.min_gap == min(wanted) == 0.0
    assert plain.below == {e: sum(g < e for g in wanted) for e in (1e-6, 0.015)}
    assert report.gaps == len(wanted) == 200 - 7


def test_untrained_multipliers_separate_nobody():
    report = collisions.multiplier_gaps(memcom_fake(np.ones(30), 3), roundings=["none", "int8"])
    assert [r.equal_pairs for r in report.by_rounding] == [3 * comb(10, 2)] * 2
    assert "30 multipliers in 3 buckets" in str(report)


def test_eight_bits_undo_uniqueness_as_the_birthday_says():
    n, buckets = 40_000, 1000
    values = np.random.default_rng(0).uniform(0, 1, n)
    report = collisions.multiplier_gaps(memcom_fake(values, buckets))
    none, fp16, int8 = report.by_rounding
    assert none.equal_pairs <= fp16.equal_pairs < int8.equal_pairs
    chance = buckets * 40 * 39 / 2 / 256  # 3.05 pairs a bucket
    assert report.expected_pairs[256] == pytest.approx(chance)
    assert int8.equal_pairs == pytest.approx(chance, rel=0.1)


def test_the_bias_separates_equal_multipliers():
    values, bias = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0], [0.0, 0.0, 0.5, 0.0, -0.25, 0.0]
    without = collisions.multiplier_gaps(memcom_fake(values, 2), roundings=["none"])
    with_bias = collisions.multiplier_gaps(memcom_fake(values, 2, bias), roundings=["none"])
    assert without.by_rounding[0].equal_pairs == 6
    assert with_bias.by_rounding[0].equal_pairs == 3  # bucket 1 has neither
    assert with_bias.bias


def test_tiny_rows_are_counted():
    table = np.ones((5, 4))
    table[3] = 1e-5
    assert collisions.multiplier_gaps(memcom_fake(np.arange(10), 5, table=table)).tiny_rows == 1


def test_multipliers_are_required_and_must_be_finite():
    with pytest.raises(TypeError, match="Fake has no scalar per id called 'multiplier'"):
        collisions.multiplier_gaps(Fake({"table": np.arange(3)}))
    with pytest.raises(ValueError, match="finite"):
        collisions.multiplier_gaps(memcom_fake([1.0, np.inf], 1))


def test_column_rounding():
    values = np.array([-1.0, 0.0, 0.3, 1.0])
    levels = np.linspace(-1, 1, 256)
    nearest = levels[np.abs(levels[None] - values[:, None]).argmin(1)]
    assert np.allclose(np.abs(round_column(values, "int8") - values).max(), 1 / 255, atol=2e-3)
    assert np.allclose(round_column(values, "int8")[[0, 2, 3]], nearest[[0, 2, 3]])
    assert (round_column(values, "fp16") == values.astype(np.float16)).all()
    with pytest.raises(ValueError, match="got 'int4'"):
        round_column(values, "int4")
