from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcom.data.assemble import interactions, labelled_rows

PAIRS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 8), st.integers(0, 99)), min_size=1, max_size=80
)


@given(PAIRS, st.sampled_from(["time", "random"]))
def test_every_pair_stays_once_and_ids_follow_the_training_frequency(triples, split):
    user, item, time = (np.array(column) for column in zip(*triples, strict=True))
    data = interactions("x", user, item, time=time, split=split)
    assert data.item_keys is not None
    back = [
        (int(data.user_names[u]), int(data.item_keys[i]))
        for u, i in zip(data.user, data.item, strict=True)
    ]
    assert len(back) == len(set(back))
    assert set(back) == {(u, i) for u, i, _ in triples}

    counted = Counter(data.item[data.split == 0].tolist())
    assert data.item_counts.tolist() == [counted[i] for i in range(data.num_items)]
    order = [(-counted[i], int(data.item_keys[i])) for i in range(data.num_items)]
    assert order == sorted(order)
    users = Counter(data.user[data.split == 0].tolist())
    order = [(-users[u], int(data.user_names[u])) for u in range(data.num_users)]
    assert order == sorted(order)


@given(PAIRS)
def test_a_repeated_pair_keeps_its_earliest_row(triples):
    user, item, time = (np.array(column) for column in zip(*triples, strict=True))
    data = interactions("x", user, item, time=time)
    earliest: dict[tuple[int, int], int] = {}
    for u, i, t in triples:
        earliest[u, i] = min(t, earliest.get((u, i), t))
    assert data.item_keys is not None
    assert data.time is not None
    for u, i, t in zip(data.user, data.item, data.time, strict=True):
        assert earliest[int(data.user_names[u]), int(data.item_keys[i])] == t


@given(PAIRS)
def test_order_of_the_rows_does_not_matter_to_a_random_split(triples):
    user, item, _ = (np.array(column) for column in zip(*triples, strict=True))
    forward = interactions("x", user, item, seed=1)
    backward = interactions("x", user[::-1], item[::-1], seed=1)
    assert forward.item_names.tolist() == backward.item_names.tolist()
    for split in (0, 1, 2):
        sets = []
        for data in (forward, backward):
            of = data.split == split
            sets.append(set(zip(data.user[of].tolist(), data.item[of].tolist(), strict=True)))
        assert sets[0] == sets[1]


def test_a_published_pair_in_train_and_test_is_history_only():
    user, item = np.array([1, 1, 1]), np.array([7, 8, 7])
    data = interactions("x", user, item, published=np.array([2, 2, 0], dtype=np.int8))
    kept = {(data.item_names[i], s) for i, s in zip(data.item, data.split, strict=True)}
    assert kept == {("7", 0), ("8", 2)}
    assert "1 repeated" in data.notes


def test_items_seen_only_in_test_come_last():
    item = np.array([1, 2, 3, 3])
    published = np.array([2, 0, 0, 0], dtype=np.int8)
    data = interactions("x", np.arange(4), item, published=published)
    assert data.item_names.tolist() == ["3", "2", "1"]
    assert data.item_counts.tolist() == [2, 1, 0]


def test_min_rating_drops_rows_and_says_so():
    data = interactions(
        "x", np.array([1, 1]), np.array([1, 2]), rating=np.array([2.5, 4.0]), min_rating=4
    )
    assert data.item_names.tolist() == ["2"]
    assert "1 rows rated below 4" in data.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_rating": 3}, "no ratings"),
        ({"split": "time"}, "can by random"),
        ({"split": "weekly"}, "can by random"),
        ({"rating": np.array([1.0, 2.0]), "min_rating": 9}, "no row is left"),
    ],
)
def test_impossible_wishes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        interactions("x", np.array([1, 2]), np.array([1, 2]), **options)


def test_rows_count_weights_and_put_untrained_values_last():
    data = labelled_rows(
        "x",
        {"letter": np.array(["a", "b", "b", "z"], dtype=object)},
        np.array([0, 1, 1, 0]),
        ("no", "yes"),
        np.array([0, 0, 0, 2], dtype=np.int8),
        weight=np.array([9, 1, 1, 50]),
    )
    assert data.names["letter"].tolist() == ["a", "b", "z"]
    assert data.counts["letter"].tolist() == [9, 2, 0]
    assert data.fields["letter"].tolist() == [0, 1, 1, 2]
    assert data.cardinalities == {"letter": 3}
