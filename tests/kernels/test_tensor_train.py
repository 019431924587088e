from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memcom import kernels
from memcom.kernels.backend import WORTH_LOADING

pytest.importorskip("numba")

small = st.integers(1, 6)


def make(rows, dims, rank, seed=0):
    rng = np.random.default_rng(seed)
    widths = (dims[0] * rank, rank * dims[1] * rank, rank * dims[2])
    shapes = zip(rows, widths, strict=True)
    return [torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for shape in shapes]


def by_hand(ids, cores, rows, dims, rank):
    """All vectors by one contraction in float64, then those of the ids."""
    (m1, m2, m3), (n1, n2, n3) = rows, dims
    first, middle, last = (core.double().numpy() for core in cores)
    tensor = np.einsum(
        "iax,jxby,kyc->kjiabc",
        first.reshape(m1, n1, rank),
        middle.reshape(m2, rank, n2, rank),
        last.reshape(m3, rank, n3),
    )
    return tensor.reshape(m1 * m2 * m3, -1)[ids]


def compare(ids, rows, dims, rank):
    cores = make(rows, dims, rank)
    got = kernels.tensor_train(ids, cores, dims, rank)
    np.testing.assert_allclose(got, by_hand(ids, cores, rows, dims, rank), rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(small, small, small),
    st.tuples(st.integers(1, 9), st.integers(1, 5), st.sampled_from([1, 2, 3, 4, 8, 16, 17, 33])),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_vectors_are_those_of_the_contraction(rows, dims, rank, seed):
    rng = np.random.default_rng(seed)
    compare(torch.from_numpy(rng.integers(np.prod(rows), size=WORTH_LOADING)), rows, dims, rank)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [(3, 40, 50), (2, 2, 2000), (2, 2000, 2)])
def test_tails_are_found_in_a_table_or_by_sorting(rows, threads):
    ids = torch.arange(np.prod(rows)).flip(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compare(ids, rows, (2, 4, 4), 5)
        compare(ids[:700] // 30, rows, (2, 4, 4), 5)  # far fewer ids than there are tails
        compare(ids[:700] // 30 * 10, rows, (2, 4, 4), 5)
    finally:
        torch.set_num_threads(before)


def test_more_tails_than_the_scratch_holds_are_computed_in_turns(monkeypatch):
    from memcom.kernels.cpu import tensor_train

    monkeypatch.setattr(tensor_train, "SCRATCH", 7 * 16 * 3)
    compare(torch.arange(600) % 500, (5, 10, 10), (2, 4, 4), 3)


def test_what_the_kernels_cannot_take_is_left_to_others():
    rows, dims, rank = (5, 10, 10), (2, 4, 4), 3
    cores, ids = make(rows, dims, rank), torch.arange(500).repeat(2)
    assert kernels.tensor_train(ids, cores, dims, rank) is not None
    assert kernels.tensor_train(ids[: WORTH_LOADING - 1], cores, dims, rank) is None
    assert kernels.tensor_train(ids, [core.double() for core in cores], dims, rank) is None
    assert kernels.tensor_train(ids, [*cores[:2], cores[2][:, 1:]], dims, rank) is None
    with kernels.plain():
        assert kernels.tensor_train(ids, cores, dims, rank) is None
    cores[1].requires_grad_()
    assert kernels.tensor_train(ids, cores, dims, rank) is None
    with torch.no_grad():
        assert kernels.tensor_train(ids, cores, dims, rank) is not None
