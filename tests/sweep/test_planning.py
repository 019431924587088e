"""What is planned: the data a spec names, in the order of ids it asks for."""

from __future__ import annotations

import numpy as np
import pytest

from memcom.data import load
from memcom.sweep.planning import read
from memcom.sweep.spec import Source


def test_shuffled_ids_are_the_same_data_under_other_numbers():
    plain = load("synthetic", num_users=60, num_items=100)
    options = {"num_users": 60, "num_items": 100}
    shuffled = read(Source("synthetic", {**options, "ids": "shuffled"}))
    assert not np.array_equal(shuffled.item, plain.item)
    names = plain.item_names[plain.item]
    np.testing.assert_array_equal(shuffled.item_names[shuffled.item], names)
    np.testing.assert_array_equal(shuffled.split, plain.split)
    train = shuffled.item[shuffled.split == 0]
    np.testing.assert_array_equal(np.bincount(train, minlength=100), shuffled.item_counts)
    assert (np.diff(shuffled.item_counts) > 0).any()
    with pytest.raises(ValueError, match=r"ids must be 'sorted', or 'shuffled'.*'random'"):
        read(Source("synthetic", {**options, "ids": "random"}))
    with pytest.raises(ValueError, match="for nycflights"):
        read(Source("nycflights", {"ids": "shuffled"}))
