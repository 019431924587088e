"""Verdicts from intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("pandas")

from experiments.claims.verdicts import (
    NOT_MEASURED,
    difference,
    judge,
    listing,
    percent,
    tally,
    verdict,
)
from memcom.sweep import Interval


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(0.01, -0.01, 0.04), "yes"),  # all of it at the limit or below
        (Interval(0.05, 0.041, 0.06), "no"),
        (Interval(0.03, 0.01, 0.05), "open"),
        (Interval(0.01, math.nan, math.nan), "open"),
    ],
)
def test_at_most_asks_the_whole_interval(interval, expected):
    assert verdict(interval, at_most=0.04) == expected


def test_better_is_a_loss_below_zero():
    assert verdict(Interval(-0.02, -0.03, -0.01)) == "yes"
    assert verdict(Interval(0.02, 0.01, 0.03)) == "no"
    assert verdict(Interval(-0.02, -0.03, 0.01)) == "open"


YES, OPEN, NO = Interval(-0.05, -0.06, -0.04), Interval(0, -0.01, 0.01), Interval(0.05, 0.04, 0.06)


def test_one_case_against_a_claim_is_enough():
    assert judge([YES, NO, OPEN]) == "no"
    assert judge([YES, OPEN]) == "open"
    assert judge([YES, YES]) == "yes"
    assert judge([]) == NOT_MEASURED


def test_one_case_is_enough_where_one_is_claimed():
    assert judge([YES, NO, OPEN], some=True) == "yes"
    assert judge([NO, OPEN], some=True) == "open"
    assert judge([NO, NO], some=True) == "no"
    assert judge([NO], at_most=0.07, some=True) == "yes"


def test_the_one_case_has_to_stand_among_many():
    """An interval that just leaves 0 out has p near 0.05; four of them are not enough for a no."""
    barely = Interval(0.0101, 0.0001, 0.0201)
    assert judge([barely]) == "no"
    assert judge([barely] * 4) == "open"
    assert judge([barely, *[OPEN] * 3], some=True) == "open"
    assert judge([Interval(-0.0101, -0.0201, -0.0001)] * 4) == "yes"  # all of them are for it


def test_a_universal_claim_that_is_true_falls_seldom():
    """Twelve tables in which nothing differs: a "no" in about one of twenty, not in one of four."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        means = 0.01 * rng.standard_t(8, 12)
        found.append(judge([Interval(m, m - 0.0231, m + 0.0231) for m in means]))
    assert found.count("no") / 400 < 0.06


def test_percent_has_digits_where_they_are_needed():
    assert percent(Interval(0.042, 0.001, 0.082)) == "+4.2 % (+0.1 to +8.2)"
    assert percent(Interval(0.0012, -0.0003, 0.0031)) == "+0.12 % (-0.03 to +0.31)"
    assert percent(Interval(-0.05, math.nan, math.nan)) == "-5.0 %"


def test_cases_are_listed_or_counted():
    cases = [
        ("a", Interval(-0.02, -0.03, -0.01)),
        ("b", Interval(0.02, 0.01, 0.03)),
        ("c", Interval(0.04, -0.01, 0.09)),
    ]
    assert listing(cases[:2]) == "a -2.0 % (-3.0 to -1.0); b +2.0 % (+1.0 to +3.0)"
    assert listing([("", cases[0][1])]) == "-2.0 % (-3.0 to -1.0)"
    assert tally(cases) == (
        "better in 1 of 3 tables, worse in 1 (b; 1 after Holm's correction), not told apart in 1; "
        "median loss +2.0 %"
    )
    assert tally([]) == ""


def test_a_difference_is_as_wide_as_two_independent_ones():
    value, low, high = difference(Interval(0.10, 0.07, 0.13), Interval(0.04, 0.0, 0.08))
    assert value == pytest.approx(0.06)
    assert high - value == pytest.approx(0.05)  # 3 and 4 make 5
    assert value - low == pytest.approx(0.05)
