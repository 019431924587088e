"""Recommendations are checked on data that they do not come from."""

from __future__ import annotations

import math

import pytest

from memcom.advice import DataSet, Evidence, leave_one_out


def test_the_best_of_the_others_is_held_against_what_was_measured():
    """On a and b hash loses less than qr, on c more: only c's own losses would have told."""
    losses = {"a": (0.1, 0.2), "b": (0.1, 0.3), "c": (0.5, 0.2)}
    curves = {
        (data, method): [(math.log(20), math.log(1 - loss))]
        for data, both in losses.items()
        for method, loss in zip(("hash", "qr"), both, strict=True)
    }
    known = Evidence(curves, {data: DataSet(10_000) for data in losses})
    found = {check.data: check for check in leave_one_out(known, [16])}
    assert found.keys() == {"a", "b", "c"}
    assert (found["c"].recommended, found["c"].best) == ("hash", "qr")
    assert not found["c"].right
    # At 16x a curve that was measured at 20x only lies between 1x and 20x.
    at_16 = [1 - (1 - loss) ** (math.log(16) / math.log(20)) for loss in losses["c"]]
    assert found["c"].regret == pytest.approx(at_16[0] - at_16[1], rel=1e-3)


def test_what_cannot_be_compared_is_left_out():
    curves = {(data, "hash"): [(math.log(20), -0.1)] for data in "abc"}
    assert leave_one_out(Evidence(curves, {data: DataSet(10_000) for data in "abc"}), [16]) == []


def test_the_data_set_itself_has_no_say():
    losses = {"a": (0.1, 0.2), "b": (0.2, 0.1), "c": (0.15, 0.3)}
    sets = {"a": DataSet(5_000), "b": DataSet(10_000), "c": DataSet(20_000)}

    def recommended(losses):
        curves = {
            (data, method): [(math.log(20), math.log(1 - loss))]
            for data, both in losses.items()
            for method, loss in zip(("hash", "qr"), both, strict=True)
        }
        return {
            check.data: check.recommended for check in leave_one_out(Evidence(curves, sets), [16])
        }

    before = recommended(losses)
    for data in sets:
        for own in (0.0, 0.9), (0.9, 0.0):
            assert recommended({**losses, data: own})[data] == before[data]
