"""FBGEMM's table is a baseline where it can be imported, and nothing is missing where not."""

from __future__ import annotations

import types
from itertools import pairwise

import pytest
import torch

from benchmarks import external, methods, steps


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
def fbgemm(monkeypatch):
    found = types.SimpleNamespace(
        SplitTableBatchedEmbeddingBagsCodegen=Table,
        EmbeddingLocation=types.SimpleNamespace(HOST="host"),
        ComputeDevice=types.SimpleNamespace(CPU="cpu"),
        EmbOptimType=types.SimpleNamespace(EXACT_SGD="sgd"),
    )
    monkeypatch.setattr(external, "_fbgemm", lambda: found)


def test_where_it_is_installed_it_is_timed(fbgemm):
    ids = torch.tensor([3, 1, 4, 1] * methods.BAG)
    forward = methods.forward_ways(20, 8, len(ids))
    assert forward[f"{external.FBGEMM}, bags of 1"](ids).shape == (len(ids), 8)
    assert methods.bag_ways(20, 8, len(ids))[external.FBGEMM](ids).shape == (4, 8)
    step = steps.sgd_ways(20, 8, len(ids))[f"{external.FBGEMM}, SGD"]
    step(ids)
    table = external.fbgemm_table(20, 8)
    assert float(table.split_embedding_weights()[0].abs().min()) > 0  # no page of zeros is shared


def test_where_it_is_not_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(external, "_fbgemm", lambda: None)
    assert external.fbgemm_table(20, 8) is None
    for ways in (methods.forward_ways(20, 8, 4), steps.sgd_ways(20, 8, 4)):
        assert not any(name.startswith(external.FBGEMM) for name in ways)


def test_bags_are_summed_alike():
    ids = torch.arange(20).repeat(8)[: 4 * methods.BAG]
    ways = methods.bag_ways(20, 8, len(ids))
    assert {way(ids).shape for way in ways.values()} == {torch.Size([4, 8])}


def test_checked_and_unchecked_lookups_agree():
    ids = torch.tensor([3, 1, 4, 1])
    for ways in methods.check_ways(20, 8):
        bare, checked = ways.values()
        assert torch.equal(bare(ids), checked(ids))


def test_searches_find_the_same_items():
    ids = torch.tensor([3, 1, 4])
    ways = methods.search_ways(3000, 8)
    (scores, items) = ways["scores of all items"](ids)
    (ours, which) = ways["topk of nn.Embedding"](ids)
    torch.testing.assert_close(ours, scores)
    assert torch.equal(which, items)
