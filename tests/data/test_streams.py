from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcom.data.streams import StreamVocabulary


def test_the_past_is_by_frequency_and_what_comes_by_arrival() -> None:
    vocabulary = StreamVocabulary(np.array([9, -5, 9, 70, -5, 9]), 8, shared=2)
    assert vocabulary.ids(np.array([9, -5, 70])).tolist() == [0, 1, 2]
    assert vocabulary.knows(np.array([[9, 8], [70, 71]])).tolist() == [[True, False], [True, False]]
    assert vocabulary.learn(np.array([80, 9, 3, 80])) == 2
    # However often 80 comes from now on, it keeps its place, and so does everything else.
    assert vocabulary.ids(np.array([9, -5, 70, 80, 3])).tolist() == [0, 1, 2, 3, 4]
    assert vocabulary.num_left == 1
    assert vocabulary.learn(np.array([1000, 1001])) == 1
    assert vocabulary.ids(np.array([1000])).tolist() == [5]
    assert vocabulary.learn(np.array([1001])) == 0
    assert vocabulary.ids(np.array([1001])).item() in (6, 7)


@given(
    st.lists(st.integers(-3, 12), max_size=20),
    st.lists(st.lists(st.integers(-3, 12), max_size=8), max_size=4),
    st.integers(0, 6),
    st.integers(1, 3),
)
def test_equals_a_dictionary(
    past: list[int], later: list[list[int]], reserve: int, shared: int
) -> None:
    own = sorted(set(past), key=lambda value: (-past.count(value), value))
    table = {value: place for place, value in enumerate(own)}
    room = len(own) + reserve
    vocabulary = StreamVocabulary(np.array(past, dtype=np.int64), room + shared, shared=shared)
    everything = np.arange(-3, 13)
    for batch in [[], *later]:
        for value in batch:
            if value not in table and len(table) < room:
                table[value] = len(table)
        vocabulary.learn(np.array(batch, dtype=np.int64))
        ids = vocabulary.ids(everything)
        assert vocabulary.num_known == len(table)
        for value, place in zip(everything.tolist(), ids.tolist(), strict=True):
            assert place == table[value] if value in table else room <= place < room + shared


def test_shared_ids_are_spread() -> None:
    vocabulary = StreamVocabulary(np.array([], dtype=np.int64), 16, shared=16)
    used = np.bincount(vocabulary.ids(np.arange(16_000)), minlength=16)
    assert used.min() > 800
    other = StreamVocabulary(np.array([], dtype=np.int64), 16, shared=16, seed=1)
    assert not np.array_equal(other.ids(np.arange(100)), vocabulary.ids(np.arange(100)))


@pytest.mark.parametrize(("capacity", "shared"), [(3, 1), (9, 0)])
def test_too_little_room_is_refused(capacity: int, shared: int) -> None:
    with pytest.raises(ValueError, match=f"capacity is {capacity}; it must hold the 3 values"):
        StreamVocabulary(np.array([1, 2, 3]), capacity, shared=shared)
