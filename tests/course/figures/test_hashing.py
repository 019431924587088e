"""The explorer of hash functions: pairs and hidden shares against brute force."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

import memcom
from memcom import collisions, plots
from memcom.course.figures._shared import num_pairs
from memcom.course.figures.hashing import (
    BUCKETS,
    HASHES,
    describe_hashing_explorer,
    hash_codes,
    hashing_explorer,
    hidden_share,
)

N = 300


@pytest.mark.parametrize("hash", HASHES)
def test_pairs_and_hidden_share_are_those_counted_by_hand(hash):
    code = hash_codes(hash, 32, N).tolist()
    counts = np.arange(N, 0, -1)
    pairs = sum(a == b for a, b in combinations(code, 2))
    best: dict[int, int] = {}
    for group, count in zip(code, counts.tolist(), strict=True):
        best[group] = max(best.get(group, 0), count)
    assert num_pairs(np.array(code)) == pairs
    assert hidden_share(np.array(code), counts) == pytest.approx(
        1 - sum(best.values()) / counts.sum()
    )


def test_the_hashes_are_what_they_are_called():
    assert hash_codes("remainder, sorted ids", 32, N).tolist() == [i % 32 for i in range(N)]
    shuffled = hash_codes("remainder, shuffled ids", 32, N)
    assert Counter(shuffled.tolist()) == Counter(i % 32 for i in range(N))
    assert shuffled.tolist() != [i % 32 for i in range(N)]
    layer = memcom.HashingTrickEmbedding(N, 1, num_buckets=32)
    assert hash_codes("random hash", 32, N).tolist() == (
        layer.addresses(torch.arange(N))["table"].tolist()
    )
    double = collisions.report(memcom.DoubleHashEmbedding(N, 1, num_buckets=32))
    assert num_pairs(hash_codes("two random hashes", 32, N)) == double.colliding_pairs


def test_sorted_remainder_hides_as_little_as_can_be():
    counts = 1 / np.arange(1, N + 1)
    code = hash_codes("remainder, sorted ids", 64, N)
    assert hidden_share(code, counts) == pytest.approx(1 - counts[:64].sum() / counts.sum())
    for hash in ("random hash", "remainder, shuffled ids"):
        assert hidden_share(hash_codes(hash, 64, N), counts) > hidden_share(code, counts)


def test_shared_codes_cannot_be_changed_and_randomness_is_left_alone():
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    code = hash_codes("random hash", 128, N + 1)
    assert torch.rand(1) == first
    with pytest.raises(ValueError, match="read-only"):
        code[0] = 1


def test_an_unknown_hash_is_named():
    with pytest.raises(ValueError, match="md5"):
        hash_codes("md5", 32, N)


@pytest.mark.parametrize("hash", HASHES)
@pytest.mark.parametrize("num_buckets", [BUCKETS[0], BUCKETS[-1]])
@pytest.mark.parametrize("exponent", [0.0, 2.0])
def test_both_ends_are_drawn(hash, num_buckets, exponent):
    figure = hashing_explorer(num_buckets, hash, exponent)
    assert plots.to_png(figure, 40).startswith(b"\x89PNG")
    left, right = figure.axes
    line = next(a for a in left.lines if a.get_label() == hash)
    drawn = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    text = describe_hashing_explorer(num_buckets, hash, exponent)
    assert f"{max(int(drawn[num_buckets]), 0):,} pairs cannot be told apart" in text
    assert all(0 <= y <= 1 for a in right.lines for y in a.get_ydata())
