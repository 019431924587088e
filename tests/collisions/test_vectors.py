"""Equal and near vectors against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from memcom import collisions
from tests.collisions.fakes import with_vectors


def test_equal_vectors_treats_both_zeros_alike_and_sees_one_bit():
    rows = np.zeros((6, 5), np.float32)
    rows[1, 2] = -0.0
    rows[2, 4] = np.float32(1e-45)  # the smallest float32 there is
    rows[3:5] = 1.5
    rows[5] = 1.5
    rows[5, 0] = np.nextafter(np.float32(1.5), np.float32(2))
    groups = collisions.equal_vectors(with_vectors(rows), chunk_size=2)
    assert sorted(map(tuple, groups)) == [(0, 1), (3, 4)]


@pytest.mark.parametrize("rounding", ["none", "fp16", "bf16", "int8"])
def test_equal_vectors_after_rounding_equals_brute_force(rounding):
    rng = np.random.default_rng(1)
    base = rng.standard_normal((30, 4)).astype(np.float32)
    rows = np.concatenate([base, base, base * np.float32(1 + 2e-4), np.round(base)])
    if rounding == "none":
        rounded = rows
    elif rounding == "fp16":
        rounded = rows.astype(np.float16).astype(np.float32)
    elif rounding == "bf16":
        bits = rows.view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16  # round half to even
        rounded = bits.astype(np.uint32).view(np.float32)
    else:
        low = rows.min(1, keepdims=True)
        scale = (rows.max(1, keepdims=True) - low) / np.float32(255)
        safe = np.where(scale == 0, np.float32(1), scale)
        rounded = np.rint((rows - low) / safe) * scale + low
    expected = {
        (i, j) for i, j in combinations(range(len(rows)), 2) if (rounded[i] == rounded[j]).all()
    }
    groups = collisions.equal_vectors(with_vectors(rows), rounding, chunk_size=13)
    assert {p for g in groups for p in combinations(g.tolist(), 2)} == expected
    assert len(expected) >= 30


def test_equal_vectors_does_not_trust_its_fingerprints(monkeypatch):
    rows = np.repeat(np.arange(12, dtype=np.float32)[:, None], 3, axis=1)[[0, 1, 2, 1, 0, 3, 1]]
    monkeypatch.setattr(
        "memcom.collisions.vectors.fingerprints", lambda rows: np.zeros(len(rows), np.uint64)
    )
    groups = collisions.equal_vectors(with_vectors(rows), chunk_size=3)
    assert sorted(map(tuple, groups)) == [(0, 4), (1, 3, 6)]


def test_nan_and_unknown_rounding_are_refused():
    rows = np.zeros((3, 2), np.float32)
    rows[1, 1] = np.nan
    with pytest.raises(ValueError, match="id 1 holds nan"):
        collisions.equal_vectors(with_vectors(rows))
    with pytest.raises(ValueError, match="got 'int3'"):
        collisions.equal_vectors(with_vectors(np.zeros((3, 2))), "int3")


def test_int8_rows_that_are_constant_stay_exact():
    rows = torch.tensor([[0.3, 0.3], [0.0, 0.0], [-1.0, 1.0]])
    assert torch.allclose(collisions.round_rows(rows, "int8"), rows)


@pytest.mark.parametrize("dim", [1, 3, 16])
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.6])
def test_near_vectors_equals_brute_force(dim, eps):
    rng = np.random.default_rng(dim)
    base = rng.standard_normal((40, dim)).astype(np.float32)
    rows = np.concatenate([base, base[:10], base[5:25] + np.float32(0.04 / dim**0.5)])
    distance = np.linalg.norm(rows[:, None].astype(np.float64) - rows[None], axis=-1)
    pairs = {(i, j) for i, j in combinations(range(len(rows)), 2) if distance[i, j] <= eps}
    found = collisions.near_vectors(with_vectors(rows), eps, chunk_size=17)
    assert found.num_pairs == len(pairs)
    assert found.num_ids == len({i for pair in pairs for i in pair})
    assert set(map(tuple, found.near.tolist())) <= pairs


def test_near_vectors_refuses_an_eps_that_is_not_small():
    emb = with_vectors(np.random.default_rng(0).standard_normal((200, 4)))
    with pytest.raises(collisions.TooManyCandidates, match="19,900"):
        collisions.near_vectors(emb, 100.0, max_candidates=1000)
    with pytest.raises(ValueError, match="eps must be >= 0"):
        collisions.near_vectors(emb, -1.0)
