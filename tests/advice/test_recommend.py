"""Recommendations: a scale for each data set, the least loss first, and every reason named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import memcom
from memcom.advice import DataSet, Evidence
from memcom.advice.recommend import expect

SETS = {"a": DataSet(1000), "b": DataSet(1000), "c": DataSet(1000)}


def evidence(losses):
    """Evidence of losses at ratio 16, by data set and method."""
    curves = {
        (data, method): [(math.log(16), math.log(1 - loss))]
        for data, of_method in losses.items()
        for method, loss in of_method.items()
    }
    return Evidence(curves, SETS, {"qr": 0.5})


def test_what_was_measured_everywhere_is_averaged():
    known = evidence({d: {"qr": loss} for d, loss in zip("abc", (0.1, 0.2, 0.4), strict=True)})
    found = expect(known, {"qr": 16.0}, DataSet(1000))["qr"]
    assert found.value == pytest.approx(1 - (0.9 * 0.8 * 0.6) ** (1 / 3))
    assert (found.low, found.high) == pytest.approx((0.1, 0.4))
    assert found.data_sets == 3


def test_a_method_that_was_tried_on_easy_data_only_gains_nothing_by_it():
    """Its logarithm is twice that of qr; what it has on the third data set follows from that."""
    kept = {"a": 0.9, "b": 0.8, "c": 0.5}
    losses = {d: {"qr": 1 - k} for d, k in kept.items()}
    for data in "ab":
        losses[data]["hash"] = 1 - kept[data] ** 2
    found = expect(evidence(losses), {"qr": 16.0, "hash": 16.0}, DataSet(1000))
    assert 1 - found["hash"].value == pytest.approx((1 - found["qr"].value) ** 2, rel=1e-6)
    assert found["hash"].data_sets == 2


def test_one_data_set_is_not_enough():
    losses = {d: {"qr": 0.1} for d in "abc"}
    losses["a"]["hash"] = 0.0
    assert expect(evidence(losses), {"qr": 16.0, "hash": 16.0}, DataSet(1000)).keys() == {"qr"}


def test_data_sets_that_are_alike_count_more():
    known = evidence({d: {"qr": loss} for d, loss in zip("abc", (0.1, 0.2, 0.4), strict=True)})
    known.data_sets = {"a": DataSet(10**3), "b": DataSet(10**4), "c": DataSet(10**6)}
    near = [expect(known, {"qr": 16.0}, DataSet(n))["qr"].value for n in (10**3, 10**4, 10**6)]
    assert near == sorted(near)
    assert near[0] < near[-1]


def test_suggestions_fit_the_budget_and_the_best_comes_first():
    found = memcom.recommend(20_000, 64, nbytes="300 kB", top=3)
    assert len(found.suggestions) == 3
    losses = [each.loss.value for each in found.suggestions]
    assert losses == sorted(losses)
    assert found.best is found.suggestions[0]
    for each in found.suggestions:
        assert each.plan.nbytes <= 300_000
        trained = torch.randn(20_000, 64)
        made = eval(each.line, {"memcom": memcom, "trained": trained})
        layer = made if hasattr(made, "frozen_nbytes") else made.layer
        assert layer.frozen_nbytes == each.plan.nbytes
    assert found.best.line in str(found)
    assert found.best_trained.line in str(found)
    assert not found.best_trained.method.startswith("full->")


def test_every_method_is_suggested_or_has_a_reason():
    found = memcom.recommend(20_000, 64, ratio=16)
    named = {each.method for each in found.suggestions} | found.left_out.keys()
    assert named == set(Evidence.committed().methods)
    assert "ratio < 8" in found.left_out["int4"]


def test_rounding_is_recommended_where_it_fits():
    assert memcom.recommend(3_706, 64, ratio=7, top=1).best.method in ("int4", "qr")


def test_counts_change_what_is_like():
    steep = np.geomspace(1e6, 1, 20_000)
    assert (
        memcom.recommend(20_000, 64, ratio=16, counts=steep).evidence
        != memcom.recommend(20_000, 64, ratio=16).evidence
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give ratio or nbytes"),
        ({"ratio": 4, "nbytes": 10}, "give ratio or nbytes"),
        ({"ratio": 4, "top": 0}, "top.*got 0"),
        ({"ratio": 4, "counts": [1, 2]}, "one per id"),
        ({"ratio": 4, "counts": [0] * 100}, "not all 0"),
        ({"ratio": 4, "counts": [1] * 99 + [-1]}, ">= 0"),
        ({"ratio": 4, "counts": [1] * 99 + [float("nan")]}, "finite"),
        ({"ratio": 0}, "ratio"),
    ],
)
def test_what_makes_no_sense_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        memcom.recommend(100, 64, **options)


def test_a_ratio_that_nothing_was_measured_at_names_the_reasons():
    with pytest.raises(memcom.BudgetError, match=r"ratio=1000: .*hash: not measured at"):
        memcom.recommend(100_000, 64, ratio=1000)
