"""Popularity: what is drawn are the counts, their shares and the multipliers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from memcom.course import figures
from tests.course.figures.pictures import COUNTS, memcom_layer, texts


def test_long_tail_draws_the_sorted_counts_and_their_shares():
    figure = figures.long_tail(np.random.default_rng(0).permutation(COUNTS), ids="films")
    left, right = figure.axes
    x, y = left.lines[0].get_data()
    assert x.tolist() == list(range(1, 9))  # a log axis has no place for ids never seen
    assert y.tolist() == COUNTS[:8].tolist()
    x, y = right.lines[0].get_data()
    assert np.allclose(y, np.cumsum(COUNTS) / 171)
    assert "10.0% of the films take half" in texts(figure)
    assert "60% of 10 films\nhave 5 interactions or fewer,\n20% have none" in texts(figure)
    assert "90%: 4 films" in texts(figure)  # 160 of 171 is the first above 0.9


def test_long_tail_thins_a_long_one_but_keeps_both_ends():
    counts = np.arange(200_000, 0, -1)
    x, y = figures.long_tail(counts).axes[0].lines[0].get_data()
    assert (x[0], x[-1]) == (1, 200_000)
    assert len(x) < 2000
    assert (y == counts[x - 1]).all()


@pytest.mark.parametrize("counts", [[], [0, 0], [3, -1]])
def test_long_tail_refuses_what_is_no_popularity(counts):
    with pytest.raises(ValueError, match="counts must be"):
        figures.long_tail(counts)


def test_multiplier_figure_draws_before_and_after():
    emb = memcom_layer(400)
    counts = np.random.default_rng(0).integers(0, 200, 400)
    ax = figures.multiplier_by_popularity(emb, counts, before=np.ones(400)).axes[0]
    seen = counts > 0
    lines = {line.get_label(): line.get_data() for line in ax.lines}
    assert np.array_equal(lines["before training"][1], np.ones(seen.sum()))
    x, y = lines["one id, after training"]
    assert np.array_equal(x, counts[seen])
    assert np.allclose(y, emb.multiplier.detach().numpy()[seen, 0])
    x, median = lines["median"]
    last = (counts >= 128) & (counts < 256)
    own = emb.multiplier.detach().numpy()[last]
    assert median[-1] == pytest.approx(np.median(own))
    (band,) = [each for each in ax.collections if each.get_label() == "middle 80 %"]
    outline = band.get_paths()[0].vertices
    at_last = outline[outline[:, 0] == x[-1], 1]
    assert (at_last.min(), at_last.max()) == pytest.approx(tuple(np.quantile(own, [0.1, 0.9])))


def test_multiplier_figure_refuses_mismatches():
    with pytest.raises(ValueError, match="shape"):
        figures.multiplier_by_popularity(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="at least one id"):
        figures.multiplier_by_popularity(np.ones(3), np.zeros(3))
