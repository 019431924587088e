from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import njit

from memcom.kernels.cpu import arithmetic
from memcom.kernels.cpu.native import LANES, read, write, zeros


@njit
def exp_in_place(numbers):
    for k in range(0, len(numbers), LANES):
        place = numbers.ctypes.data + k * 4
        write(place, arithmetic.exp_of_lanes(read(place, zeros())))


@njit
def exp_one_by_one(numbers):
    for k in range(len(numbers)):
        numbers[k] = arithmetic.exp(numbers[k])


@pytest.mark.parametrize("exp", [exp_in_place, exp_one_by_one])
def test_exponentials(exp):
    x = np.linspace(-87, 88, 64 * LANES, dtype=np.float32)
    x[:3] = 0, 1, -1
    got = x.copy()
    exp(got)
    np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=2e-7)
    beyond = np.array([-1e30, -np.inf, 1e30, np.inf] * (LANES // 4), dtype=np.float32)
    exp(beyond)
    assert beyond[:2].max() < 2e-38
    assert beyond[2:4].min() > 2e38
