"""The collision microscope, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom import collisions
from memcom.course.figures.collision_microscope import (
    describe_microscope,
    fates,
    ids_by_rank,
    microscope,
    slide,
    zipf_counts,
)

N = 300
COUNTS = np.sort(np.random.default_rng(0).integers(0, 90, N))[::-1]
NAMES = [f"film {i}" for i in range(N)]
LOOK = {"vocabulary": N, "ratio": 4, "rank": 0, "embedding_dim": 16}


def test_fates_by_hand():
    code, counts = np.array([4, 4, 9, 4, 2, 2]), np.array([1, 7, 5, 7, 3, 3])
    assert fates(code, counts).tolist() == [2, 1, 0, 2, 1, 2]


def test_fates_against_a_loop_over_ids():
    code = np.random.default_rng(1).integers(60, size=N)
    for i, fate in enumerate(fates(code, COUNTS)):
        sharers = np.flatnonzero(code == code[i])
        top = min(sharers, key=lambda j: (-COUNTS[j], j))
        assert fate == (0 if len(sharers) == 1 else 1 if top == i else 2)


def test_the_remainder_hides_the_tail_only():
    seen = slide("hash(seed=None)", N, 16, 4)
    fate = fates(seen.code, COUNTS)
    assert seen.layer.num_buckets == N // 4
    assert (fate[: N // 4] == 1).all()
    assert (fate[N // 4 :] == 2).all()


def test_words_and_picture_say_what_is_counted():
    words = describe_microscope(COUNTS, NAMES, method="hash(seed=None)", **LOOK)
    lost = COUNTS[N // 4 :].sum() / COUNTS.sum()
    assert f"{75 * 4 * 3 // 2} pairs share everything" in words
    assert f"225 items are hidden behind a more popular one and take {lost:.1%}" in words
    assert "film 0 shares all with 3 items and a part with 0." in words
    figure = microscope(COUNTS, NAMES, method="hash(seed=None)", **LOOK)
    left, right = figure.axes
    assert left.get_title(loc="left") == f"{lost:.1%} of the ratings go to hidden items"
    assert right.get_title(loc="left") == "3 share with film 0"
    assert [t.get_text() for t in right.texts] == [
        f"film {i}  ({COUNTS[i]})" for i in (75, 150, 225)
    ]


def test_one_item_is_not_called_many():
    look = LOOK | {"method": "hash(seed=None)", "ratio": 2}
    assert "film 0 shares all with 1 item and a part" in describe_microscope(COUNTS, NAMES, **look)
    title = microscope(COUNTS, NAMES, **look).axes[1].get_title(loc="left")
    assert title == "1 shares with film 0"


def test_every_method_can_be_looked_at():
    for method in memcom.available():
        assert describe_microscope(COUNTS, NAMES, method=method, **LOOK)
        assert microscope(COUNTS, NAMES, method=method, **LOOK).axes


def test_what_is_out_of_reach_says_so():
    words = describe_microscope(COUNTS, NAMES, method="memcom", **(LOOK | {"ratio": 16}))
    assert words.startswith("memcom cannot store 300 items at a ratio of 16: ")
    figure = microscope(COUNTS, NAMES, method="memcom", **(LOOK | {"ratio": 16}))
    assert figure.axes[0].texts[0].get_text() == "Out of reach:"


def test_shuffled_ids_let_popular_items_hide():
    order = ids_by_rank(N, shuffled=True)
    assert sorted(order) == list(range(N))
    seen = slide("hash(seed=None)", N, 16, 4)
    hidden = fates(seen.code[order], COUNTS) == 2
    assert COUNTS[hidden].sum() > COUNTS[N // 4 :].sum()


def test_building_a_slide_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    slide("memcom", 77, 16, 3)
    assert torch.equal(torch.rand(2), expected)


def test_zipf_counts():
    counts = zipf_counts(4, 25)
    assert counts.tolist() == pytest.approx([12, 6, 4, 3])


def test_the_report_and_the_fates_agree():
    seen = slide("double-hash", N, 16, 4)
    fate = fates(seen.code, COUNTS)
    found = collisions.report(seen.layer, COUNTS)
    assert (fate > 0).sum() == found.colliding_ids
    assert COUNTS[fate == 2].sum() / COUNTS.sum() == pytest.approx(found.overshadowed_mass)
