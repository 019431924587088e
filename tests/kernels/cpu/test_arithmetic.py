from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import njit

from memcom.kernels.cpu import arithmetic
from memcom.kernels.cpu.native import BYTES, LANES, read, write, zeros


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


@njit
def transpose(source, target):
    rows, columns = source.shape
    here, there = source.ctypes.data, target.ctypes.data
    arithmetic.transpose(here, columns * 4, rows, columns, there, rows * 4)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (15, 17), (32, 48), (40, 33), (3, 64)])
def test_transposes_of_whole_and_of_broken_squares(shape):
    source = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    target = np.full((shape[1] + 1, shape[0]), np.nan, np.float32)
    transpose(source, target)
    assert (target[:-1] == source.T).all()
    assert np.isnan(target[-1]).all()


@njit
def totals(numbers, out):
    place = numbers.ctypes.data
    a, b = read(place, zeros()), read(place + BYTES, zeros())
    c, d = read(place + 2 * BYTES, a), read(place + 3 * BYTES, a)
    write(out.ctypes.data, arithmetic.totals_of(a, b, c, d))


def test_sums_of_four_vectors():
    numbers = np.random.default_rng(0).integers(-99, 99, (4, LANES)).astype(np.float32)
    out = np.empty(4, np.float32)
    totals(numbers, out)
    assert (out == numbers.sum(1)).all()


@njit
def multiply_short_rows(a, b, out):
    rows, depth = a.shape
    places = a.ctypes.data, b.ctypes.data, out.ctypes.data
    arithmetic.multiply_short_rows(places[0], depth * 4, rows, depth, places[1], places[2])


@pytest.mark.parametrize("depth", range(1, 12))
def test_products_of_short_rows(depth):
    draw = np.random.default_rng(depth)
    a, b = draw.standard_normal((5, depth)), draw.standard_normal((depth, LANES))
    out = np.full((6, LANES), np.nan, np.float32)
    multiply_short_rows(a.astype(np.float32), b.astype(np.float32), out)
    np.testing.assert_allclose(out[:5], a @ b, atol=1e-5)
    assert np.isnan(out[5]).all()
