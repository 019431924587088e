from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from tests.embeddings.oracle import FUSE, check

N, E = 200, 12
IDS = np.arange(N)


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_quotient_remainder(operation):
    layer = memcom.QREmbedding(N, E, num_remainders=30, operation=operation)
    assert layer.quotient.shape[0] == 7  # ceil(200 / 30)
    check(layer, lambda s: FUSE[operation]([s["remainder"][IDS % 30], s["quotient"][IDS // 30]]))


def test_collisions_as_the_paper_counts_them():
    layer = memcom.QREmbedding(N, E, num_collisions=4)
    assert (layer.remainder.shape[0], layer.quotient.shape[0]) == (4, 50)


@pytest.mark.parametrize("sizes", [{}, {"num_remainders": 3, "num_collisions": 3}])
def test_exactly_one_size(sizes):
    with pytest.raises(ValueError, match="one of num_remainders and num_collisions"):
        memcom.QREmbedding(N, E, **sizes)


def test_odd_widths_concatenate_too():
    layer = memcom.QREmbedding(N, 7, num_remainders=30, operation="concat")
    assert (layer.remainder.shape[1], layer.quotient.shape[1]) == (4, 3)
    check(layer, lambda s: np.hstack([s["remainder"][IDS % 30], s["quotient"][IDS // 30]]))


@pytest.mark.parametrize(
    "layer",
    [
        memcom.QREmbedding(10_000, 32, num_remainders=100, operation=operation)
        for operation in ("mult", "add", "concat")
    ],
    ids=lambda layer: layer.operation,
)
def test_no_table_starts_all_positive(layer):
    # A widely used layer draws from [sqrt(1/n), 1) by giving only one bound.
    for table in (layer.remainder, layer.quotient):
        assert abs(table.mean().item()) < 0.1 * table.std().item()


@pytest.mark.parametrize("ratio", [4, 12, 16, 24])
@pytest.mark.parametrize("n", [3706, 10_000])
def test_the_large_table_of_a_budget_is_read_by_the_one_or_the_other(n, ratio):
    by_remainder, by_quotient = (
        memcom.build("qr", n, 8, ratio=ratio, large=large) for large in ("remainder", "quotient")
    )
    assert by_remainder.num_remainders >= by_remainder.num_quotients
    assert by_quotient.num_remainders <= by_quotient.num_quotients
    # By hand: the fewest collisions whose two tables are within the budget.
    fits = [c for c in range(1, n) if c + -(-n // c) <= n / ratio]
    assert by_quotient.num_remainders == min(fits)
    rows = {"remainder": np.arange(n) % min(fits), "quotient": np.arange(n) // min(fits)}
    for name, found in by_quotient.addresses(torch.arange(n)).items():
        assert np.array_equal(found, rows[name])


def test_a_table_that_is_neither_is_refused():
    with pytest.raises(ValueError, match="'remainder', 'quotient', got 'both'"):
        memcom.plan("qr", 100, 8, ratio=4, large="both")
    with pytest.raises(ValueError, match="'remainder', 'quotient', got 'both'"):
        memcom.QREmbedding(100, 8, num_remainders=10, large="both")
