from __future__ import annotations

import itertools

import torch

from memcom.tasks import Histories
from tests.tasks.data import planted


def lists(histories: Histories) -> list[list[int]]:
    bounds = histories.offsets.tolist()
    items = histories.items.tolist()
    return [items[a:b] for a, b in itertools.pairwise(bounds)]


SOME = Histories.from_lengths(torch.tensor([2, 0, 3, 1]), torch.tensor([5, 6, 7, 8, 9, 4]))


def test_lists_of_users() -> None:
    assert lists(SOME) == [[5, 6], [], [7, 8, 9], [4]]
    assert SOME.rows.tolist() == [0, 0, 2, 2, 2, 3]
    assert len(SOME) == 4


def test_take_keeps_order_and_repeats() -> None:
    assert lists(SOME.take(torch.tensor([3, 2, 1, 2]))) == [[4], [7, 8, 9], [], [7, 8, 9]]
    assert lists(SOME.take(torch.tensor([], dtype=torch.int64))) == []


def test_divide_is_a_partition() -> None:
    chosen = torch.tensor([True, False, False, True, False, True])
    held_out, given = SOME.divide(chosen)
    assert lists(held_out) == [[5], [], [8], [4]]
    assert lists(given) == [[6], [], [7, 9], []]


def test_splits_are_joined_per_user_oldest_first() -> None:
    data = planted()
    joined = lists(Histories.of(data, "train", "valid"))
    for user in (0, 7, 199):
        mine = data.user == user
        expected = [int(i) for part in (0, 1) for i in data.item[mine & (data.split == part)]]
        assert joined[user] == expected
