from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.procedures import Occurrences, learned_options, prepare

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


@pytest.mark.parametrize("name", ["memcom", "hash", "cce", "pep", "lma"])
def test_other_methods_are_left_alone(name):
    torch.manual_seed(0)
    emb = memcom.build(name, 20, 16, ratio=2)
    before = {key: value.clone() for key, value in emb.state_dict().items()}
    prepare(emb, KNOWN, never)
    for key, value in emb.state_dict().items():
        assert torch.equal(value, before[key]), key
