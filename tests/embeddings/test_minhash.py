from __future__ import annotations

import numpy as np
import pytest
import torch

from memcom import minhash_signatures
from memcom.embeddings.minhash import random_signatures
from tests.embeddings.oracle import derived_seeds, hashed

RNG = np.random.default_rng(0)
ITEMS = RNG.integers(0, 40, size=600)
USERS = RNG.integers(0, 2**40, size=600)


def test_keys_are_the_low_bytes_of_the_least_hashes():
    found = minhash_signatures(ITEMS, USERS, 41, num_keys=5, seed=3, min_count=10)
    seeds = derived_seeds(3, 10)
    for item in range(41):
        users = USERS[item == ITEMS]
        for k in range(5):
            if len(users) >= 10:
                expected = hashed(users, seeds[5 + k]).min() % 256
            else:  # too rare: a hash of the id itself
                expected = hashed([item], seeds[k])[0] % 256
            assert found[item, k] == expected
    assert found.dtype == torch.uint8
    counts = np.bincount(ITEMS, minlength=41)
    assert 0 < (counts < 10).sum() < 41  # both kinds were looked at


@pytest.mark.parametrize("shared", [0, 25, 50, 75, 100])
def test_keys_agree_as_often_as_sets_overlap(shared):
    a, b = np.arange(100), np.arange(100 - shared, 200 - shared)
    jaccard = len(np.intersect1d(a, b)) / len(np.union1d(a, b))
    found = minhash_signatures(np.repeat([0, 1], 100), np.r_[a, b], 2, num_keys=2000)
    agree = (found[0] == found[1]).double().mean().item()
    assert agree == pytest.approx(jaccard + (1 - jaccard) / 256, abs=0.05)
    assert (agree == 1) == (shared == 100)


def test_order_and_repetition_change_nothing():
    order = RNG.permutation(600)
    expected = minhash_signatures(ITEMS, USERS, 40)
    assert torch.equal(minhash_signatures(ITEMS[order], USERS[order], 40), expected)
    twice = minhash_signatures(np.r_[ITEMS, ITEMS], np.r_[USERS, USERS], 40, min_count=4)
    assert torch.equal(twice, expected)
    assert torch.equal(minhash_signatures(ITEMS.tolist(), USERS.tolist(), 40), expected)


def test_without_interactions_signatures_are_random():
    nothing = np.array([], dtype=np.int64)
    found = minhash_signatures(nothing, nothing, 3000, num_keys=4, seed=5)
    assert torch.equal(found, random_signatures(3000, 4, seed=5))
    assert len(found.unique(dim=0)) > 2990
    agree = (found[:1500] == found[1500:]).double().mean().item()
    assert agree == pytest.approx(1 / 256, rel=0.3)


@pytest.mark.parametrize(
    ("ids", "users", "error", "message"),
    [
        ([0, 1], [5], ValueError, "ids and users must be as long, got 2 and 1"),
        ([0, 9], [5, 5], IndexError, r"id 9 is out of range: ids must be in \[0, 9\)"),
        ([0, -1], [5, 5], IndexError, "id -1 is out of range"),
        ([0, 1], [5, -2], ValueError, "users must be >= 0, got -2"),
    ],
)
def test_bad_interactions_are_refused(ids, users, error, message):
    with pytest.raises(error, match=message):
        minhash_signatures(ids, users, 9)


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="num_keys must be >= 1, got 0"):
        random_signatures(4, 0)
    with pytest.raises(ValueError, match="seed must be >= 0"):
        random_signatures(4, seed=-1)
