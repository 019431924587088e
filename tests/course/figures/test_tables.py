"""Tables: the rows that are read, and the vectors that come out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

mpl = pytest.importorskip("matplotlib")

from matplotlib.patches import Rectangle

import memcom
from memcom.course import figures
from memcom.course.figures import effective_tables
from tests.course.figures.pictures import memcom_layer, texts


def test_who_shares_fills_shared_rows_alike():
    emb = memcom.QREmbedding(40, 8, num_remainders=7)
    ids = [0, 7, 8, 22]  # remainders 0 0 1 1, quotients 0 1 1 3
    figure = figures.who_shares(emb, ids, names=["a", "b", "c", "d"])
    ax = figure.axes[0]
    cells = [p for p in ax.patches if isinstance(p, Rectangle)]
    looks = [(c.get_facecolor(), c.get_hatch()) for c in cells]
    remainder, quotient = looks[:4], looks[4:]
    assert remainder[0] == remainder[1] != remainder[2] == remainder[3]
    assert quotient[1] == quotient[2] != quotient[0]
    assert quotient[0] == quotient[3] == (mpl.colors.to_rgba("white"), "")
    assert [t.get_text() for t in ax.texts] == ["0", "0", "1", "1", "0", "1", "1", "3"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c", "d"]
    assert "Every id reads its own combination of rows" in texts(figure)


def test_who_shares_names_ids_that_cannot_be_told_apart():
    emb = memcom.BinaryCodeEmbedding(64, 8, block_bits=2, shared=True)
    figure = figures.who_shares(emb, [1, 4, 16, 5])
    assert "3 of 4 ids cannot be told from another" in texts(figure)
    assert {"= id 4, id 16", "= id 1, id 16", "= id 1, id 4"} <= set(texts(figure))


def test_who_shares_refuses_crowds_and_repeats():
    emb = memcom_layer()
    with pytest.raises(ValueError, match="got 41"):
        figures.who_shares(emb, range(41))
    with pytest.raises(ValueError, match="different ids"):
        figures.who_shares(emb, [1, 1])
    with pytest.raises(ValueError, match="2 ids need as many names, got 1"):
        figures.who_shares(emb, [1, 2], names=["a"])


def test_effective_table_is_the_composed_rows():
    emb = memcom_layer()
    figure = figures.effective_table(emb, ids=[3, 23, 4])
    image = figure.axes[0].images[0]
    expected = (emb.table[[3, 3, 4]] * emb.multiplier[[3, 23, 4]]).detach().numpy()
    assert np.allclose(image.get_array(), expected)
    assert image.norm.vmin == -image.norm.vmax
    assert "3 ids, 3 different vectors" in texts(figure)
    fresh = memcom.MEmComEmbedding(400, 8, num_buckets=20)
    assert "64 ids, 20 different vectors" in texts(figures.effective_table(fresh))
    with pytest.raises(ValueError, match="got 0"):
        figures.effective_table(emb, ids=[])


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
