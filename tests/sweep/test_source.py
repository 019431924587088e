"""Sources: what they load, and the checksum of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from memcom.data import load
from memcom.sweep import Source

SIZES = {"num_users": 60, "num_items": 100}


def test_shuffled_ids_are_the_same_data_under_other_numbers(data):
    shuffled = Source("synthetic", {**SIZES, "ids": "shuffled"}).load()
    assert not np.array_equal(shuffled.item, data.item)
    names = data.item_names[data.item]
    np.testing.assert_array_equal(shuffled.item_names[shuffled.item], names)
    np.testing.assert_array_equal(shuffled.split, data.split)
    train = shuffled.item[shuffled.split == 0]
    np.testing.assert_array_equal(np.bincount(train, minlength=100), shuffled.item_counts)
    assert (np.diff(shuffled.item_counts) > 0).any()


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (Source("synthetic", {**SIZES, "ids": "random"}), "'random'"),
        (Source("nycflights", {"ids": "shuffled"}), "nycflights"),  # has no items
    ],
)
def test_an_order_of_ids_that_there_is_not_is_refused(source, named):
    with pytest.raises(ValueError, match=f"'sorted'.*'shuffled'.*{named}"):
        source.load()


def test_the_checksum_is_of_the_content():
    data = load("synthetic", num_users=20, num_items=50)
    source = Source("some/where/pairs.csv", {"user_col": "u"})
    pinned = source.pinned(data)
    assert pinned.label == pinned.name == source.label == "pairs.csv"
    assert pinned == Source("else/pairs.csv", {"user_col": "u"}).pinned(data)
    assert pinned == source.pinned(dataclasses.replace(data, notes="other", name="other"))
    split = data.split.copy()
    split[0] = (split[0] + 1) % 3
    assert source.pinned(dataclasses.replace(data, split=split)) != pinned


def test_a_shuffled_source_is_named_so_once(data):
    source = Source("synthetic", {"ids": "shuffled"})
    assert source.label == source.pinned(data).label == "synthetic shuffled"
