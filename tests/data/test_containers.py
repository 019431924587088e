from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from memcom.data import Interactions, LabelledBags


@pytest.fixture
def small() -> Interactions:
    return Interactions(
        name="small",
        num_users=3,
        num_items=4,
        user=np.array([2, 0, 0, 2, 0]),
        item=np.array([3, 1, 0, 2, 2]),
        time=np.array([5, 9, 1, 4, 2]),
        rating=None,
        split=np.array([0, 0, 0, 0, 2], dtype=np.int8),
        item_names=np.array(list("abcd"), dtype=object),
        user_names=np.array(list("xyz"), dtype=object),
        item_counts=np.array([1, 1, 1, 1]),
    )


def test_history_lists_each_user_oldest_first(small):
    offsets, items = small.history("train")
    assert offsets.tolist() == [0, 2, 2, 4]
    assert items.tolist() == [0, 1, 2, 3]
    offsets, items = small.history(2)
    assert offsets.tolist() == [0, 1, 1, 1]
    assert items.tolist() == [2]


def test_history_without_times_keeps_the_order_of_rows(small):
    _, items = replace(small, time=None).history(0)
    assert items.tolist() == [1, 0, 3, 2]


def test_history_refuses_another_split(small):
    with pytest.raises(ValueError, match="'dev'"):
        small.history("dev")
    with pytest.raises(ValueError, match="3"):
        small.history(3)


def test_fields_cannot_be_replaced_in_place(small):
    with pytest.raises(FrozenInstanceError):
        small.num_items = 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": np.array([0, 1, 2, 3, 4])}, "item holds id 4; valid ids are 0 to 3"),
        ({"user": np.array([0, 0, -1, 0, 0])}, "user holds id -1"),
        ({"item": np.zeros(5, dtype=np.int32)}, "int32"),
        ({"time": np.zeros(4)}, "time has 4 rows, expected 5"),
        ({"split": np.full(5, 3, dtype=np.int8)}, "split must be int8"),
        ({"item_names": np.array(["a"])}, "item_names has 1 rows, expected 4"),
    ],
)
def test_inconsistent_arrays_are_refused(small, change, message):
    with pytest.raises(ValueError, match=message):
        replace(small, **change)


def test_repr_tells_the_sizes(small):
    assert "5 rows, 3 users, 4 items; train 4, valid 0, test 1" in repr(small)


def test_bags_must_end_where_the_tokens_end():
    with pytest.raises(ValueError, match="0 to 3"):
        LabelledBags(
            name="bags",
            tokens=np.array([0, 1, 0]),
            offsets=np.array([0, 2]),
            num_tokens=2,
            label=np.array([0]),
            num_classes=1,
            label_names=("only",),
            token_names=np.array(["a", "b"], dtype=object),
            split=np.zeros(1, dtype=np.int8),
            token_counts=np.array([2, 1]),
        )
