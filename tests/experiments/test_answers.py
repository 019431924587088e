"""Intervals into answers."""

from __future__ import annotations

import math

import pytest

from experiments.claims.answers import (
    NOT_MEASURED,
    at_most,
    better,
    counted,
    difference,
    judged,
    percent,
    together,
)
from memcom.sweep.statistics import Interval


@pytest.mark.parametrize(
    ("interval", "answer"),
    [
        (Interval(0.01, -0.01, 0.04), "yes"),  # all of it at the limit or below
        (Interval(0.05, 0.041, 0.06), "no"),
        (Interval(0.03, 0.01, 0.05), "open"),
        (Interval(0.01, math.nan, math.nan), "open"),
    ],
)
def test_at_most_asks_the_whole_interval(interval, answer):
    assert at_most(0.04)(interval) == answer


def test_better_is_a_loss_below_zero():
    assert better(Interval(-0.02, -0.03, -0.01)) == "yes"
    assert better(Interval(0.02, 0.01, 0.03)) == "no"
    assert better(Interval(-0.02, -0.03, 0.01)) == "open"


def test_one_case_against_it_is_enough():
    assert together(["yes", "no", "open"]) == "no"
    assert together(["yes", "open"]) == "open"
    assert together(["yes", "yes"]) == "yes"
    assert together([]) == NOT_MEASURED


def test_percent_has_digits_where_they_are_needed():
    assert percent(Interval(0.042, 0.001, 0.082)) == "+4.2 % (+0.1 to +8.2)"
    assert percent(Interval(0.0012, -0.0003, 0.0031)) == "+0.12 % (-0.03 to +0.31)"
    assert percent(Interval(-0.05, math.nan, math.nan)) == "-5.0 %"


def test_a_finding_names_its_cases_and_leaves_out_what_was_not_measured():
    cases = [("here", Interval(0.01, 0.0, 0.02)), ("there", None)]
    found = judged("It loses nothing", "a paper", cases, at_most(0.04))
    assert found == ("It loses nothing", "a paper", "yes", "here +1.0 % (+0.0 to +2.0)")
    assert judged("It loses nothing", "a paper", [("there", None)]).answer == NOT_MEASURED


def test_many_cases_are_counted():
    cases = [
        ("a", Interval(-0.02, -0.03, -0.01)),
        ("b", Interval(0.02, 0.01, 0.03)),
        ("c", Interval(0.04, -0.01, 0.09)),
        ("d", None),
    ]
    found = counted("It is better", "a paper", cases)
    assert found.answer == "no"
    assert found.evidence == (
        "better in 1 of 3 tables, worse in 1 (b), not told apart in 1; in the median it loses "
        "+2.0 %"
    )
    assert counted("It is better", "a paper", []) == ("It is better", "a paper", NOT_MEASURED, "")


def test_a_difference_is_as_wide_as_two_independent_ones():
    one, other = Interval(0.10, 0.07, 0.13), Interval(0.04, 0.0, 0.08)
    value, low, high = difference(one, other)
    assert value == pytest.approx(0.06)
    assert high - value == pytest.approx(0.05)  # 3 and 4 make 5
    assert value - low == pytest.approx(0.05)
    assert difference(one, None) is None
