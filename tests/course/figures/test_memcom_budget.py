"""The budget picture of MEmCom, against layers that are really built."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt

import memcom
from memcom.course.figures.memcom_budget import describe_memcom_budget, memcom_budget, memcom_shares


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("ratio", [2, 8, 20])
def test_shares_are_those_of_a_built_layer(bias, ratio):
    layer = memcom.build("memcom", 50_000, 64, ratio=ratio, bias=bias)
    parts = [layer.table, layer.multiplier] + ([layer.bias] if bias else [])
    real = [4 * p.numel() / layer.nbytes for p in parts]
    shares = memcom_shares(64, bias, np.array([ratio]))[:, 0]
    assert shares[: len(real)] == pytest.approx(real, abs=1e-3)
    assert shares.sum() == pytest.approx(1)


def test_nothing_is_left_at_the_ceiling():
    assert memcom_shares(64, True, np.array([32.0, 40.0])).sum() == 0


def test_words_agree_with_the_planner():
    plan = memcom.plan("memcom", 9066, 64, ratio=16)
    words = describe_memcom_budget(9066, 64, 16, False)
    assert f"{plan.arguments['num_buckets']} shared rows ({plan.nbytes:,} bytes)" in words
    assert "the ceiling is 32" in describe_memcom_budget(9066, 64, 40, True)


@pytest.mark.parametrize("ratio", [2, 16, 40])
def test_the_marked_ratio_is_named(ratio):
    figure = memcom_budget(9066, 64, ratio, True)
    texts = [t.get_text() for t in figure.axes[0].texts]
    rows = int(9066 * (1 / ratio - 1 / 32))
    assert (f"{ratio}×: {rows:,} rows" if ratio < 32 else "40× is out of reach") in texts
    assert plt.get_fignums() == []
