from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom import embeddings
from memcom.embeddings import Occurrences, learned_options, prepare

# Ids 0-9 occur with users 0-9, ids 10-19 with users 10-19; id k occurs 20 - k times.
IDS = torch.cat([torch.full((20 - k,), k) for k in range(20)])
GROUPS = torch.cat([torch.arange(20 - k) % 10 + 10 * (k // 10) for k in range(20)])
KNOWN = Occurrences(IDS, GROUPS, 20)


def never(width: int) -> torch.Tensor:
    raise AssertionError("nothing has to be trained for this method")


def test_counts_by_hand():
    assert KNOWN.counts.tolist() == [20 - k for k in range(20)]


def test_signatures_say_who_occurs_with_whom():
    learned = learned_options("lma", KNOWN)["signatures"].numpy()
    # Ids 0 to 10 have ten or more occurrences and so all users of their half.
    agree = (learned[:, None] == learned[None]).mean(-1)
    assert (agree[:10, :10] == 1).all()
    assert agree[:10, 10:].max() < 0.5
    tail = learned_options("lma", KNOWN, head=5)["signatures"].numpy()
    np.testing.assert_array_equal(tail, learned[5:])


@pytest.mark.parametrize("name", [n for n in memcom.available() if n != "lma"])
def test_other_methods_need_nothing_to_be_built(name):
    assert learned_options(name, KNOWN) == {}


def test_a_map_is_learnt_from_the_narrow_table_and_frequency():
    emb = memcom.build("lhf", 20, 8, num_buckets=6)

    def pretrain(width: int) -> torch.Tensor:
        assert torch.is_grad_enabled()
        return torch.eye(2).repeat_interleave(10, 0).repeat(1, width // 2) * 100

    prepare(emb, KNOWN, pretrain)
    rows = emb.addresses(torch.arange(20))["table"]
    assert rows[:3].tolist() == [0, 1, 2]  # half of the rows belong to the most frequent ids
    assert not set(rows[3:10].tolist()) & set(rows[10:].tolist())


def test_behind_private_rows_are_the_last_ids():
    emb = memcom.build("amtl", 20, 4, num_values=30, head=8)
    prepare(emb, KNOWN, never)
    expected = np.log1p(np.arange(12, 0, -1)) / np.log1p(12)
    np.testing.assert_allclose(emb.tail.frequency.flatten(), expected, rtol=1e-6)


def test_behind_later_rounding_a_layer_learns_too():
    plain = memcom.build("amtl", 20, 4, num_values=30, head=8)
    later = memcom.build("amtl", 20, 4, num_values=30, head=8, bits=8)
    for emb in (plain, later):
        prepare(emb, KNOWN, never)
    assert torch.equal(later.embedding.tail.frequency, plain.tail.frequency)
    torch.manual_seed(0)
    table = torch.randn(20, 4)
    plain, later = (memcom.build("lhf", 20, 8, num_buckets=6, **o) for o in ({}, {"bits": 8}))
    for emb in (plain, later):
        prepare(emb, KNOWN, lambda width: table)
    assert torch.equal(later.embedding.map, plain.map)
    assert not torch.equal(plain.map, memcom.build("lhf", 20, 8, num_buckets=6).map)


def test_behind_a_map_ids_of_one_row_count_together():
    to = torch.tensor([3, 3, *range(2), *[2] * 6, *[4] * 10])  # row 5 belongs to no id
    emb = memcom.MappedEmbedding(memcom.build("amtl", 6, 4, num_values=12), to)
    prepare(emb, KNOWN, never)
    counts = np.array([18, 17, sum(range(11, 17)), 20 + 19, sum(range(1, 11)), 0])
    expected = np.log1p(counts) / np.log1p(counts.max())
    np.testing.assert_allclose(emb.inner.frequency.flatten(), expected, rtol=1e-6)


def test_behind_a_map_and_private_rows_a_row_is_the_mean_of_its_ids(monkeypatch):
    """Ids 0 to 5 are rows 0 to 5, of which 0 and 1 are private; 6 to 19 are rows 6 and 7."""
    to = torch.tensor([*range(6), *[6] * 4, *[7] * 10])
    inner = memcom.build("lhf", 8, 4, num_buckets=3, head=2)
    table, seen = torch.randn(20, 4), []

    def learn_map(*given, **options):
        seen.extend(given)
        return torch.zeros(6, dtype=torch.int64)

    monkeypatch.setattr("memcom.embeddings.lhf.learn_map", learn_map)
    prepare(memcom.MappedEmbedding(inner, to), KNOWN, lambda width: table)
    means, counts, num_buckets = seen
    each = np.arange(20, 0, -1)
    groups = [[2], [3], [4], [5], [6, 7, 8, 9], list(range(10, 20))]
    assert counts.tolist() == [each[ids].sum() for ids in groups]
    assert num_buckets == 3
    assert torch.equal(means[:4], table[2:6])  # alone in their rows: to the bit
    expected = [np.average(table[ids].numpy(), 0, each[ids]) for ids in groups]
    np.testing.assert_allclose(means, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["memcom", "hash", "cce", "pep", "lma"])
def test_other_methods_are_left_alone(name):
    torch.manual_seed(0)
    emb = memcom.build(name, 20, 16, ratio=2)
    before = {key: value.clone() for key, value in emb.state_dict().items()}
    prepare(emb, KNOWN, never)
    for key, value in emb.state_dict().items():
        assert torch.equal(value, before[key]), key


# --- through every wrapper ------------------------------------------------------------------------

PACKED = ("int8", "int4")
WRAPPED = [
    (name, wrapping)
    for name in memcom.available()
    for wrapping in ("head", "bits", "map", "all")
    if not (name in PACKED and wrapping in ("bits", "all"))
]


def wrapped(name: str, wrapping: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A layer for 40 ids and the method's own layer in it."""
    options = {"head": {"head": 4}, "bits": {"bits": 8}, "map": {}}
    options["all"] = options["head"] | options["bits"]
    torch.manual_seed(0)
    ratio = None if name in ("full", *PACKED) else 1.5
    emb = memcom.build(name, 40, 8, ratio=ratio, **options[wrapping])
    if wrapping in ("map", "all"):
        emb = memcom.MappedEmbedding(emb, torch.arange(40).flip(0))
    (own,) = (m for m in emb.modules() if type(m) is memcom.get(name))
    return emb, own


@pytest.mark.parametrize(("name", "wrapping"), WRAPPED)
def test_wrappers_pass_on_what_is_learned_schedules_and_regularizers(name, wrapping, monkeypatch):
    emb, own = wrapped(name, wrapping)
    cls, n = memcom.get(name), own.num_embeddings
    told, asked = [], []

    def learn(self, counts, pretrained, *, seed=0):
        told.append((self, counts, pretrained(2)))

    def regularizer(self, ids):
        asked.append((self, ids))
        return torch.ones(())

    monkeypatch.setattr(cls, "learn", learn)
    monkeypatch.setattr(cls, "regularizer", regularizer)
    ids = torch.arange(40).repeat_interleave(torch.arange(1, 41))
    known = Occurrences(ids, torch.zeros_like(ids), 40)
    narrow = torch.arange(80.0).view(40, 2)
    prepare(emb, known, lambda width: narrow)
    order = slice(40 - n, None)  # behind private rows are the last ids
    counts, table = torch.arange(1, 41), narrow
    if wrapping in ("map", "all"):
        counts, table = counts.flip(0), table.flip(0)
    ((layer, heard, vectors),) = told
    assert layer is own
    assert heard.tolist() == counts[order].tolist()
    assert torch.equal(vectors, table[order])

    regularizers = embeddings.Regularizers(emb)
    emb.train()(torch.tensor([39, 0, 20]))
    assert regularizers.loss() == 1
    regularizers.close()
    ((layer, ids),) = asked
    assert layer is own
    rows = [0, 39, 19] if wrapping in ("map", "all") else [39, 0, 20]
    assert ids.tolist() == [row - (40 - n) for row in rows if row >= 40 - n]

    schedules = embeddings.attach(emb, 10).schedules
    inside = [schedule for schedule in schedules.values() if schedule.emb is own]
    assert len(inside) == (type(own).schedule is not memcom.CompressedEmbedding.schedule)
