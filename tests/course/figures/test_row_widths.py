from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt

from memcom.course.figures.row_widths import describe_width_rule, width_rule, widths_by_popularity


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_the_budget_is_shared_out_whole_and_the_frequent_get_no_less(alpha):
    figure = width_rule(500, 32, 8, alpha)
    (patch,) = figure.axes[0].collections
    corners = patch.get_paths()[0].vertices
    assert corners[:, 1].max() <= 32
    words = describe_width_rule(500, 32, 8, alpha)
    assert words.startswith("2,000 numbers for 500 ids")
    assert plt.get_fignums() == []


def test_equal_widths_at_alpha_0():
    assert "gets 4, the one in the middle 4, the rarest 4" in describe_width_rule(500, 32, 8, 0.0)


def test_lines_are_the_means_of_bands():
    counts = np.array([100, 100, 10, 1, 1, 0])
    kept = np.array([8, 6, 4, 2, 0, 1])
    line = widths_by_popularity({"pep": kept}, counts).axes[0].lines[0]
    assert line.get_xdata().tolist() == [0.5, 1, 10, 100]
    assert line.get_ydata().tolist() == [1, 1, 4, 7]


def test_lengths_have_to_agree():
    with pytest.raises(ValueError, match=r"each of shape \(3,\)"):
        widths_by_popularity({"pep": np.ones(4)}, np.ones(3))
