"""The gallery of effective tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

import memcom
from memcom.course.figures.gallery import effective_tables


def test_each_picture_holds_a_layers_vectors_and_counts_them():
    torch.manual_seed(0)
    layers = {
        "full": memcom.build("full", 20, 4),
        "hash": memcom.HashingTrickEmbedding(20, 4, num_buckets=5, seed=None),
        "truncate": memcom.TruncatedEmbedding(20, 4, num_kept=6),
    }
    figure = effective_tables(layers, columns=2)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == 3
    for ax, layer in zip(shown, layers.values(), strict=True):
        vectors = layer(torch.arange(20)).detach().numpy()
        np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), vectors)
    titles = [ax.get_title(loc="left") for ax in shown]
    assert titles == [
        "full table\n20 of 20 differ",
        "hashing trick\n5 of 20 differ",
        "truncate rare\n7 of 20 differ",
    ]


def test_too_many_ids_or_none_are_refused():
    with pytest.raises(ValueError, match="at most 512"):
        effective_tables({"hash": memcom.HashingTrickEmbedding(513, 4, num_buckets=5)})
    with pytest.raises(ValueError, match="one or more"):
        effective_tables({})
