"""Values that a notebook hands to its runner."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memcom.course import record
from memcom.course.records import as_plain

RESULT = {"method": "qr", "nbytes": 10, "ratio": 4.0, "ndcg_at_10": None, "loss_percent": None}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (3, 3),
        (True, True),
        (None, None),
        ("text", "text"),
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (torch.tensor(2), 2),
        (torch.tensor([[1.0], [2.0]]), [[1.0], [2.0]]),
        ((1, np.array([2, 3])), [1, [2, 3]]),
        ({4: np.float64(0.25)}, {"4": 0.25}),
    ],
)
def test_values_become_what_json_can_hold(value, plain):
    converted = as_plain(value, "x")
    assert converted == plain
    assert type(converted) is type(plain)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, np.nan], {"a": -np.inf}])
def test_numbers_must_be_finite(value):
    with pytest.raises(ValueError, match="must be finite"):
        record("loss", value)


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match=r"cannot record loss\[1\]: .* a set"):
        record("loss", [1, {2}])


@pytest.mark.parametrize("name", ["", "two words", "1st", "memcom.peak", "x\n"])
def test_names_are_identifiers(name):
    with pytest.raises(ValueError, match="must be a plain identifier"):
        record(name, 1)


def test_a_result_has_the_agreed_keys():
    record("result", RESULT)
    record("result", {**RESULT, "ratio_asked": 4})
    with pytest.raises(ValueError, match=r"missing: nbytes; unknown: bytes"):
        record("result", {**{k: v for k, v in RESULT.items() if k != "nbytes"}, "bytes": 10})
    with pytest.raises(ValueError, match="missing: method"):
        record("result", 3)
