"""memcom.course.figures.binary_code: bits, rows and counts agree with counting by hand."""

from __future__ import annotations

from math import comb

import pytest

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from memcom.course.figures.binary_code import (
    code_steps,
    code_strips,
    describe_code_strips,
    distinct_vectors,
)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def rows_by_hand(i, length, t, strategy):
    bits = format(i, f"0{length}b")[::-1]
    blocks = -(-length // t)
    if strategy == "succession":
        parts = [bits[j * t : (j + 1) * t] for j in range(blocks)]
    else:
        parts = [bits[j::blocks] for j in range(blocks)]
    return [int(part[::-1], 2) for part in parts]


@pytest.mark.parametrize("strategy", ["succession", "skip"])
@pytest.mark.parametrize(("n", "t"), [(64, 2), (1000, 3), (1000, 10), (1000, 30), (37, 1)])
def test_distinct_vectors_by_brute_force(n, t, strategy):
    length = (n - 1).bit_length()
    codes = [rows_by_hand(i, length, min(t, length), strategy) for i in range(n)]
    assert distinct_vectors(n, t, strategy, shared=False) == len(set(map(tuple, codes))) == n
    shared = {tuple(sorted(code)) for code in codes}
    assert distinct_vectors(n, t, strategy, shared=True) == len(shared)


def test_a_shared_table_has_as_many_sums_as_multisets():
    assert distinct_vectors(64, 2, "succession", shared=True) == comb(4 + 3 - 1, 3) == 20


def test_strips_show_the_bits_and_the_rows():
    figure = code_strips(9066, 5)
    drawn = texts(figure)
    ids = [0, 1, 2, 32, 4533, 9065]
    assert [t for t in drawn if t.startswith("id ")] == [f"id {i:,}" for i in ids]
    last = [t for t in figure.axes[0].texts if t.get_position()[1] == ids.index(9065)]
    _, *cells = [t.get_text() for t in sorted(last, key=lambda t: t.get_position()[0])]
    assert "".join(cells[:14]) == format(9065, "014b")
    assert cells[14:] == [str(row) for row in rows_by_hand(9065, 14, 5, "succession")]
    assert (
        len(figure.findobj(lambda a: isinstance(a, Rectangle) and a.get_width() == 0.9)) == 6 * 14
    )
    assert "14 bits in 3 blocks: 73 rows for 9,066 ids, 124×" in drawn
    assert plt.get_fignums() == []


def test_strips_name_the_id_that_cannot_be_told_apart():
    assert "= id 1" not in texts(code_strips(9066, 5))
    twins = [t for t in texts(code_strips(9066, 5, shared=True)) if t.startswith("= ")]
    assert twins == ["= id 1"]  # id 32 is id 1 with two blocks exchanged


def test_words_have_the_numbers():
    words = describe_code_strips(9066, 5)
    assert "32 + 32 + 9 = 73 rows, 18,688 bytes, ratio 124." in words
    assert "each has its own" in words
    assert "share 20 vectors" in describe_code_strips(64, 2, shared=True)


def test_steps_are_the_ratios_that_exist():
    separate, shared, ceiling = code_steps(9066, 64).axes[0].lines
    assert list(separate.get_xdata()) == list(range(1, 15))
    top = [32, 32, 9]  # 9,065 has 8 in its last block: nine rows of the last table are in use
    assert separate.get_ydata()[4] == pytest.approx(9066 / sum(top))
    assert shared.get_ydata()[4] == pytest.approx(9066 / 32)
    assert np.all(np.asarray(shared.get_ydata()) >= np.asarray(separate.get_ydata()))
    assert ceiling.get_ydata()[0] == 64
