from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memcom.embeddings._allocation import allocate, power_law

WEIGHTS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30)


@settings(max_examples=200)
@given(WEIGHTS, st.integers(1, 9), st.floats(0, 1))
def test_the_budget_is_met_and_larger_weights_are_never_narrower(weights, width, share):
    budget = int(share * len(weights) * width)
    sizes = allocate(torch.tensor(weights, dtype=torch.float64), width, budget)
    assert int(sizes.sum()) == budget
    assert 0 <= int(sizes.min()) <= int(sizes.max()) <= width
    order = np.argsort(-np.array(weights), kind="stable")
    assert (np.diff(sizes.numpy()[order]) <= 0).all()


def test_widths_by_hand():
    # c = 4 gives 4, 2, 1.33, 1 and c = 5 gives 5, 2.5, 1.67, 1.25. At c = 6 three rows would grow
    # at once, to 6, 3 and 2: what there is goes to the first of them.
    weights = torch.tensor([1.0, 0.5, 1 / 3, 0.25], dtype=torch.float64)
    assert allocate(weights, 10, 8).tolist() == [4, 2, 1, 1]
    assert allocate(weights, 10, 9).tolist() == [5, 2, 1, 1]
    assert allocate(weights, 10, 11).tolist() == [6, 3, 1, 1]
    assert allocate(weights, 3, 9).tolist() == [3, 3, 2, 1]
    assert allocate(torch.ones(4), 5, 6).tolist() == [2, 2, 1, 1]
    assert allocate(weights, 10, 0).tolist() == [0, 0, 0, 0]


def test_the_power_law_by_its_formula():
    np.testing.assert_allclose(power_law(5, 0.5), np.arange(1, 6) ** -0.5)
    with pytest.raises(ValueError, match="alpha must be >= 0, got -1"):
        power_law(5, -1)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_senseless_weights_are_refused(bad):
    with pytest.raises(ValueError, match="positive and finite"):
        allocate(torch.tensor([1.0, bad]), 4, 3)


def test_more_numbers_than_room_are_refused():
    with pytest.raises(ValueError, match="num_values must be >= 0 and <= 8, got 9"):
        allocate(torch.ones(2), 4, 9)
