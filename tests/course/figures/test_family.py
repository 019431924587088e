"""One member of the family: the picture and the words, against layers that are really built."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.course.figures.family import describe_family_member, family_member, stirred

LOOK = {"num_embeddings": 96, "embedding_dim": 16, "ratio": 4}


@pytest.mark.parametrize("method", memcom.available())
def test_every_method_is_drawn_within_its_budget(method):
    layer = stirred(method, 96, 16, 4)
    figure = family_member(method, **LOOK)
    words = describe_family_member(method, **LOOK)
    if isinstance(layer, str):
        with pytest.raises(memcom.BudgetError):
            memcom.plan(method, 96, 16, ratio=4)
        assert words.endswith(layer + ".")
        assert "Out of reach" in figure.axes[0].texts[0].get_text()
        return
    assert f"stores {layer.nbytes:,} bytes" in words
    assert method == "full" or layer.nbytes <= 4 * 96 * 16 / 4
    bars = figure.axes[1].patches
    assert sum(bar.get_width() for bar in bars) == layer.nbytes
    rows = figure.axes[0].images[0].get_array()
    assert np.array_equal(rows, layer.materialize().float().numpy())


def test_memcom_is_shown_with_its_multipliers_apart():
    """As built all multipliers are 1 and ids of a bucket are equal; stirred they are not."""
    assert "96 of 96 vectors differ" in describe_family_member("memcom", **LOOK)
    assert "24 of 96 vectors differ" in describe_family_member("hash(seed=None)", **LOOK)
    assert "the table has rank 3." in describe_family_member("low-rank", **LOOK)


def test_the_budget_is_marked():
    figure = family_member("memcom", **LOOK)
    assert figure.axes[1].lines[0].get_xdata()[0] == 4 * 96 * 16 / 4


@pytest.mark.parametrize("width", [4, 16, 64])
def test_dimensions_are_numbered_by_whole_numbers(width):
    figure = family_member("memcom", 96, width, 2)
    assert all(place == int(place) for place in figure.axes[0].get_xticks())


def test_stirring_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    stirred("memcom", 50, 8, 2)
    assert torch.equal(torch.rand(2), expected)


def test_too_many_ids_are_refused():
    with pytest.raises(ValueError, match="at most 512, got 513"):
        family_member("hash", 513, 8, 4)
