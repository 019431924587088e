from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memcom import kernels
from memcom.kernels.distinct import DEDUP_FROM


def test_distinct_ids_are_composed_once():
    seen = []

    def compose(ids):
        seen.append(ids)
        return torch.stack([ids, ids**2], -1).float()

    ids = torch.randint(100, (DEDUP_FROM // 2, 2))
    assert torch.equal(kernels.dedup(ids, compose), compose(ids))
    assert torch.equal(seen[0], ids.unique())
    few = ids[:3]
    kernels.dedup(few, compose)
    assert seen[-1] is few


@pytest.mark.parametrize("most", [1, 2**11, 2**40, 2**62])
@pytest.mark.parametrize("plain", [False, True])
def test_every_id_has_its_own_vector(most, plain):
    ids = torch.randint(most, (DEDUP_FROM + 9,), generator=torch.Generator().manual_seed(0))
    switched = kernels.plain() if plain else pytest.MonkeyPatch.context()
    with switched:
        assert torch.equal(kernels.dedup(ids, lambda some: some.unsqueeze(-1)), ids.unsqueeze(-1))


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50))
def test_sorting_is_that_of_numpy(numbers):
    pytest.importorskip("numba")
    from memcom.kernels.cpu.sorting import distinct, summed

    expected, places = np.unique(numbers, return_inverse=True)
    for found, wanted in zip(distinct(torch.tensor(numbers)), (expected, places), strict=True):
        assert (found.numpy() == wanted).all()
    values = np.random.default_rng(0).integers(-9, 9, (len(numbers), 5)).astype(np.float32)
    sums = np.zeros((len(expected), 5))
    np.add.at(sums, places, values)
    rows, got = summed(torch.tensor(numbers), torch.from_numpy(values))
    assert (rows.numpy() == expected).all()
    assert (got.numpy() == sums).all()


def test_numbers_that_cannot_be_sorted_with_their_places_are_refused():
    pytest.importorskip("numba")
    from memcom.kernels.cpu.sorting import distinct, summed

    for numbers in ([3, -1], [2**62, 0], [-(2**63), 5]):
        assert distinct(torch.tensor(numbers)) is None
        assert summed(torch.tensor(numbers), torch.ones(2, 3)) is None
