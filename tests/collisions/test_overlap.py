"""Shares of the numbers that two ids read alike, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.collisions.overlap import shared_reads

N = 300


@pytest.mark.parametrize("method", ["memcom", "qr", "bloom", "hash", "robe"])
def test_shared_reads_against_a_count_of_numbers(method):
    layer = memcom.build(method, N, 16, ratio=4)
    found = shared_reads(layer, 7)
    read = layer.addresses(torch.arange(N))
    tables = layer.state_dict()
    for other in (0, 7, 8, 50, 299):
        shared = total = 0
        for name, rows in read.items():
            own, theirs = rows[7].reshape(-1).tolist(), rows[other].reshape(-1).tolist()
            shared += tables[name].shape[1] * sum(row in theirs for row in own)
            total += tables[name].shape[1] * len(own)
        assert found[other] == pytest.approx(shared / total)
    assert found[7] == 1


def test_shared_reads_of_memcom_leave_one_number():
    layer = memcom.MEmComEmbedding(N, 64, num_buckets=30)
    found = shared_reads(layer, 5)
    bucket = np.arange(N) % 30 == 5
    bucket[5] = False
    assert (found[bucket] == 64 / 65).all()
    assert found.sum() == pytest.approx(1 + bucket.sum() * 64 / 65)
    with pytest.raises(IndexError, match="id 300 is out of range"):
        shared_reads(layer, N)
