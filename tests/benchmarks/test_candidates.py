"""Candidates of a group agree; FBGEMM's table is one of them where it can be imported."""

from __future__ import annotations

import types
from itertools import pairwise

import pytest
import torch

from benchmarks import candidates, fbgemm


class Table:
    """What the kit uses of FBGEMM's table: sums of bags, and weights to be filled."""

    def __init__(self, tables, optimizer, learning_rate):
        ((rows, width, place, device),) = tables
        assert (place, device, optimizer, learning_rate) == ("host", "cpu", "sgd", 0.01)
        self.weight = torch.zeros(rows, width, requires_grad=True)

    def split_embedding_weights(self):
        return [self.weight.detach()]

    def __call__(self, ids, offsets):
        assert len(offsets) > 1
        assert (int(offsets[0]), int(offsets[-1])) == (0, len(ids))
        sums = [self.weight[ids[a:b]].sum(0) for a, b in pairwise(offsets)]
        return torch.stack(sums)


@pytest.fixture
def installed(monkeypatch):
    found = types.SimpleNamespace(
        SplitTableBatchedEmbeddingBagsCodegen=Table,
        EmbeddingLocation=types.SimpleNamespace(HOST="host"),
        ComputeDevice=types.SimpleNamespace(CPU="cpu"),
        EmbOptimType=types.SimpleNamespace(EXACT_SGD="sgd"),
    )
    monkeypatch.setattr(fbgemm, "_fbgemm", lambda: found)


def test_where_it_is_installed_it_is_timed(installed):
    ids = torch.tensor([3, 1, 4, 1] * candidates.BAG)
    forward = candidates.lookups(20, 8, len(ids))
    assert forward[f"{fbgemm.FBGEMM}, bags of 1"](ids).shape == (len(ids), 8)
    assert candidates.bags(20, 8, len(ids))[fbgemm.FBGEMM](ids).shape == (4, 8)
    step = candidates.sgd_steps(20, 8, len(ids))[f"{fbgemm.FBGEMM}, SGD"]
    step(ids)
    table = fbgemm.fbgemm_table(20, 8)
    assert float(table.split_embedding_weights()[0].abs().min()) > 0  # no page of zeros is shared


def test_where_it_is_not_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(fbgemm, "_fbgemm", lambda: None)
    assert fbgemm.fbgemm_table(20, 8) is None
    for group in (candidates.lookups(20, 8, 4), candidates.sgd_steps(20, 8, 4)):
        assert not any(name.startswith(fbgemm.FBGEMM) for name in group)


def test_bags_are_summed_alike():
    ids = torch.arange(20).repeat(8)[: 4 * candidates.BAG]
    group = candidates.bags(20, 8, len(ids))
    assert {candidate(ids).shape for candidate in group.values()} == {torch.Size([4, 8])}


def test_checked_and_unchecked_lookups_agree():
    ids = torch.tensor([3, 1, 4, 1])
    for group in candidates.id_checks(20, 8):
        bare, checked = group.values()
        assert torch.equal(bare(ids), checked(ids))


def test_searches_find_the_same_items():
    ids = torch.tensor([3, 1, 4])
    group = candidates.searches(3000, 8)
    (scores, items) = group["scores of all items"](ids)
    (ours, which) = group["topk of nn.Embedding"](ids)
    torch.testing.assert_close(ours, scores)
    assert torch.equal(which, items)
