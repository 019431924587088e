"""The grid shows every id once, and the bytes are the layer's."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.text import Text

import memcom
from memcom.course.figures.quotient_remainder import describe_qr_grid, qr_grid, qr_sizes


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
@pytest.mark.parametrize(("n", "m"), [(20, 5), (21, 5), (1, 1), (9066, 95), (7, 100)])
def test_sizes_are_those_of_the_stored_tables(n, m, operation):
    rows, quotients, nbytes = qr_sizes(n, m, operation, embedding_dim=8)
    assert rows == min(m, n)
    assert quotients == int(np.ceil(n / min(m, n)))
    assert nbytes == (rows + quotients) * 8 * 4 // (2 if operation == "concat" else 1)
    emb = memcom.QREmbedding(n, 8, num_remainders=rows, operation=operation)
    assert nbytes == sum(t.numel() * 4 for t in emb.state_dict().values())


def test_a_small_grid_shows_every_id_once_and_marks_the_two_rows():
    figure = qr_grid(18, 5, id=13)
    cells = [t for t in texts(figure.axes[0]) if t.isdigit()]
    assert sorted(map(int, cells)) == list(range(18))
    heads = [t for t in texts(figure.axes[0]) if t[:1] in "RQ" and t[1:].isdigit()]
    assert sorted(heads) == ["Q0", "Q1", "Q2", "Q3", "R0", "R1", "R2", "R3", "R4"]
    assert "id 13 = R[3] × Q[2]" in texts(figure)
    assert plt.get_fignums() == []


def test_a_large_grid_is_a_picture_of_all_ranks():
    figure = qr_grid(9066, 95, "concat", id=9065)
    image = figure.axes[0].images[0]
    assert image.get_array().shape == (96, 95)
    shown = 10 ** np.ma.masked_invalid(image.get_array()) - 1
    assert shown.count() == 9066
    assert shown.max() == pytest.approx(9065)
    assert "id 9,065 = R[40] beside Q[95]" in texts(figure)


def test_the_curve_is_lowest_near_the_square_root():
    line = qr_grid(9066, 95).axes[1].lines[0]
    splits, sizes = (np.asarray(part) for part in line.get_data())
    assert splits[0] == 1
    assert splits[-1] == 9066
    assert abs(splits[sizes.argmin()] - 9066**0.5) < 10
    by_hand = np.array([4 * 64 * (m + -(-9066 // m)) for m in splits.tolist()])
    assert np.array_equal(sizes, by_hand)


def test_words_have_the_numbers():
    words = describe_qr_grid(20, 5)
    assert "9 stored rows, 2,304 bytes instead of 5,120, ratio 2.2" in words
    assert "Id 13 reads remainder row 3 and quotient row 2" in words
    assert "of half the width, 1,152 bytes" in describe_qr_grid(20, 5, "concat")
    assert "Id 6 reads" in describe_qr_grid(7, 3)  # there is no id 13
