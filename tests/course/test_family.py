"""The family table: what is stated of each compressor, held against the layers."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import memcom
from memcom import collisions
from memcom.course.family import equal_pairs, exports, family_table, sparse_gradients
from memcom.embeddings import DISTINCT

N, E, RATIO = 2000, 16, 4
CARDS = {name: memcom.get(name).card for name in memcom.available()}
every = pytest.mark.parametrize("name", CARDS)


def of_kind(*words: str) -> list[str]:
    return [name for name, card in CARDS.items() if card.distinct in words]


@pytest.fixture(scope="module")
def rows():
    return {row.name: row for row in family_table(N, E, ratio=RATIO)}


def planned(name: str):
    ratio = None if name in ("full", "int8", "int4") else RATIO
    return memcom.plan(name, N, E, ratio=ratio)


def trained(name: str):
    """A layer whose parameters have all moved, as by training, and differ."""
    torch.manual_seed(5)
    layer = planned(name).build()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.rand_like(parameter))
    return layer


def test_every_method_has_a_card_of_its_own():
    assert len(set(CARDS.values())) == len({card.label for card in CARDS.values()}) == len(CARDS)
    assert {card.distinct for card in CARDS.values()} == set(DISTINCT)
    for name, card in CARDS.items():
        assert "card" in vars(memcom.get(name)), name
        assert card.use_when.endswith("."), name
    with pytest.raises(ValueError, match=r"distinct must be one of 'always'.*got 'mostly'"):
        replace(CARDS["full"], distinct="mostly")


@every
def test_the_paper_is_the_one_the_layer_names(name):
    """The link and a name of its authors stand in the docstring of the layer's file."""
    paper = CARDS[name].paper
    text = inspect.getdoc(sys.modules[memcom.get(name).__module__])
    if paper:
        assert paper.link in text
        if name != "k-memcom":  # its file names MEmCom's authors
            assert paper.authors.split()[0] in text
            assert str(paper.year) in text


@pytest.mark.parametrize("name", of_kind("always", "generic", "if weights differ"))
def test_unique_means_that_no_two_ids_read_the_same(name):
    layer = trained(name)
    assert collisions.report(layer).colliding_pairs == 0
    assert len(np.unique(layer.materialize().numpy(), axis=0)) == N


@pytest.mark.parametrize("name", of_kind("if weights differ"))
def test_with_equal_multipliers_ids_of_a_bucket_are_one(name):
    layer = trained(name)
    weights = layer.weights if name == "hash-embedding" else layer.multiplier
    with torch.no_grad():
        weights.fill_(1.0)
        if name == "memcom-bias":
            layer.bias.fill_(0.0)
    tables = {k: v for k, v in layer.addresses(torch.arange(N)).items() if k == "table"}
    rows = tables["table"].reshape(N, -1).sort(dim=1).values.numpy()
    shared = N - len(np.unique(rows, axis=0))
    assert shared > 0
    assert len(np.unique(layer.materialize().numpy().round(5), axis=0)) == N - shared


@pytest.mark.parametrize("name", of_kind("generic"))
def test_generic_is_less_than_a_theorem(name):
    """Different rows in every table, and still two equal vectors: chosen numbers coincide."""
    layer = trained(name)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape))
        if name in ("low-rank", "mixed-dim"):  # the projection loses rank
            projections = getattr(layer, "projections", None) or {"": layer.projection}
            for projection in projections.values():
                projection.zero_()
        elif name == "bch":  # x_a + y_b = x_c + y_d
            for j, table in enumerate(layer.tables):
                table.copy_((j + 1.0) * torch.arange(len(table)).unsqueeze(1).expand_as(table))
        else:  # a product with zero
            parameters = list(layer.parameters())
            parameters[0][0] = 0.0
    assert len(np.unique(layer.materialize().numpy(), axis=0)) < N


@pytest.mark.parametrize("name", of_kind("never"))
def test_never_means_fewer_codes_than_ids(name):
    layer = trained(name)
    assert len(np.unique(layer.materialize().numpy(), axis=0)) <= len(layer.table) < N


def test_by_chance_means_that_it_happens():
    """In tables small enough that the promised probability is not small."""
    layer = memcom.DoubleHashEmbedding(N, E, num_buckets=60)
    assert collisions.report(layer).colliding_pairs == pytest.approx(N**2 / 60**2, rel=0.2)
    for name in ("bloom", "cce", "robe", "lma"):
        sizes = memcom.get(name).sizes(N, E)
        smallest = memcom.plan(name, N, E, **sizes.arguments(sizes.scales[0])).build()
        assert collisions.report(smallest).colliding_pairs > 0
        assert collisions.report(trained(name)).colliding_pairs < N


@pytest.mark.parametrize("name", of_kind("lossy"))
def test_lossy_rows_are_their_own_until_they_are_cut(name):
    layer = trained(name)
    empty = int((layer.materialize() == 0).all(dim=1).sum())
    assert empty < N / 10
    assert collisions.report(layer).colliding_pairs == empty * (empty - 1) // 2
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert equal(layer.freeze()) == N * (N - 1) // 2


def equal(layer) -> int:
    sizes = np.unique(layer.materialize().numpy(), axis=0, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


@pytest.mark.parametrize("name", ["hash", "truncate", "lhf"])
def test_equal_pairs_of_hashes_follow_from_the_addresses(name, rows):
    layer = planned(name).build()
    sizes = np.bincount(layer.addresses(torch.arange(N))["table"].numpy())
    assert rows[name].equal_pairs == (sizes * (sizes - 1) // 2).sum()


def test_equal_pairs_leave_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    equal_pairs(memcom.plan("memcom", 100, 8, ratio=2))
    assert torch.equal(torch.rand(2), expected)


def test_bytes_are_those_of_the_frozen_layer(rows):
    for name, row in rows.items():
        if not row.too_small:
            layer = memcom.build(name, N, E, ratio=RATIO).freeze()
            stored = sum(t.numel() * t.element_size() for t in layer.state_dict().values())
            assert row.nbytes == stored <= 4 * N * E / RATIO
        assert row.compression_ratio == 4 * N * E / row.nbytes


@pytest.mark.parametrize("name", ["full", "memcom", "low-rank", "lma", "dpq", "scall", "int8"])
def test_bytes_of_training_are_those_of_its_tensors(name, rows):
    """Of every tensor of the layer, and of what a step of Adam leaves behind."""
    layer = planned(name).build()

    def total(tensors):
        return sum(t.numel() * t.element_size() for t in tensors)

    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.arange(N)).square().sum().backward()
    optimizer.step()
    state = [t for each in optimizer.state.values() for t in each.values()]
    found = rows[name].training
    assert found.parameters == total(layer.parameters())
    assert found.buffers == total(layer.state_dict().values()) - total(layer.parameters())
    assert found.gradients == total(p.grad for p in layer.parameters())
    assert found.optimizer_state == total(state)


def test_what_training_chooses_is_larger_while_it_trains(rows):
    for name in ("dpq", "scall", "fiited", "pep", "int4"):
        assert rows[name].training.parameters >= 4 * N * E > rows[name].nbytes, name
    shipped = rows["memcom"].training
    assert shipped.parameters + shipped.buffers == rows["memcom"].nbytes


def test_what_cannot_be_so_small_says_why(rows):
    too_small = {name for name, row in rows.items() if row.too_small}
    assert too_small == {"full", "int8"}
    assert rows["int8"].compression_ratio == pytest.approx(4 * E / (E + 4))
    with pytest.raises(memcom.BudgetError, match=re.escape(rows["int8"].too_small)):
        memcom.plan("int8", N, E, ratio=RATIO)


def test_sparse_gradients():
    assert sparse_gradients("memcom") == "all"
    assert sparse_gradients("low-rank") == "some"  # the projection is shared by all ids
    assert sparse_gradients("dhe") == "none"


def test_export(monkeypatch):
    assert exports("memcom")

    def branch(self, ids):
        return self.table[ids] if ids.sum() > 3 else -self.table[ids]

    monkeypatch.setattr(memcom.FullEmbedding, "compose", branch)
    assert not exports("full")


def test_unknown_names_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="no compressor is called 'nothing'"):
        family_table(N, E, names=["nothing"])
    monkeypatch.delattr(memcom.FullEmbedding, "card")
    with pytest.raises(ValueError, match="FullEmbedding has no card"):
        family_table(N, E, names=["full"])
