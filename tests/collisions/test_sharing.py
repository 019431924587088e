"""Codes, groups and neighbours against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from memcom import collisions
from memcom.collisions.groups import group_equal
from tests.collisions.fakes import Fake, brute_pairs


def random_layer(seed, n=60, rows=(4, 3), shared=None):
    rng = np.random.default_rng(seed)
    addresses = {f"t{k}": rng.integers(0, r, n) for k, r in enumerate(rows)}
    if shared:
        addresses["shared"] = np.sort(rng.integers(0, shared, (n, 3)), axis=1)
    return Fake(addresses)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_groups_and_report_equal_brute_force(seed, chunk_size):
    emb = random_layer(seed, shared=4 if seed % 2 else None, rows=(3, 2) if seed % 2 else (7, 4))
    pairs = brute_pairs(emb)
    assert pairs  # the case is not empty
    groups = collisions.sharing_groups(emb, chunk_size)
    found = {pair for g in groups for pair in combinations(g.tolist(), 2)}
    assert found == set(pairs)
    assert groups.num_pairs == len(pairs)
    assert list(groups.sizes) == sorted(groups.sizes, reverse=True)

    report = collisions.report(emb, chunk_size=chunk_size)
    involved = {i for pair in pairs for i in pair}
    assert report.colliding_pairs == len(pairs)
    assert report.colliding_ids == len(involved)
    assert report.distinct_codes == groups.num_distinct
    assert report.largest_group == groups.sizes.max()
    assert (report.group_sizes * report.group_counts).sum() == emb.num_embeddings


def test_codes_beyond_64_bits_stay_exact():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**40, (50, 5))
    rows = np.r_[base, base[:10]]  # ten ids repeat an earlier one; 200 bits of address each
    rows[59, 4] ^= 1  # but the last differs in one bit of its last address
    groups = group_equal(collisions.codes(Fake({"wide": rows}), chunk_size=16))
    assert sorted(map(tuple, groups)) == [(i, i + 50) for i in range(9)]


def test_neighbours():
    ids = np.arange(12)
    emb = Fake({"a": ids % 4, "b": np.c_[ids // 6, ids % 3]})
    assert collisions.neighbours(emb, 1, "a", chunk_size=5).tolist() == [5, 9]
    assert collisions.neighbours(emb, 1, chunk_size=5).tolist() == []
    same = Fake({"a": ids % 4, "b": ids % 2})
    assert collisions.neighbours(same, 1, chunk_size=5).tolist() == [5, 9]
    shares_any_read = [i for i in ids if i != 1 and {i // 6, i % 3} & {0, 1}]
    assert collisions.neighbours(emb, 1, "b").tolist() == shares_any_read
    with pytest.raises(IndexError, match="id 12 is out of range 0 … 11"):
        collisions.neighbours(emb, 12)
    with pytest.raises(ValueError, match="table must be one of 'a', 'b', got 'c'"):
        collisions.neighbours(emb, 1, "c")
