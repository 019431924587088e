"""Two scores behind a loss, and models at equal bytes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from memcom.course import figures
from memcom.course.figures import Score
from tests.course.figures.pictures import texts

PAIRS = {
    "linear": (Score(0.40, 0.39, 0.41), Score(0.36, 0.35, 0.37)),
    "dense": (Score(0.375, 0.37, 0.38), Score(0.36, 0.35, 0.37)),
}
ARGS = (PAIRS, ("full table", "MEmCom"), "nDCG@10")


def row(method, ratio, nbytes, value):
    return {
        **{"method": method, "ratio": ratio, "nbytes": nbytes, "total_nbytes": nbytes + 1000},
        **{"value": value, "value_low": value - 0.01, "value_high": value + 0.01},
    }


MODELS = {
    "narrow": [
        row("full", np.nan, 16_000, 0.40),
        row("memcom", 4, 4_000, 0.38),
        row("memcom", 16, 1_000, 0.35),
        row("hash", 4, 4_000, 0.39),
    ],
    "wide": [row("full", np.nan, 64_000, 0.42), row("memcom", 16, 4_000, 0.39)],
}

CURVES = {
    ("linear", "full"): [(2, 0.1), (4, 0.3), (6, 0.2)],
    ("linear", "memcom"): [(2, 0.1), (4, 0.2), (6, 0.25)],
    ("dense", "full"): [(2, 0.3), (4, 0.1)],
}


def test_a_curve_is_ringed_at_its_best_epoch():
    figure = figures.learning_curves(CURVES, "score")
    rings = [
        [tuple(line.get_xydata()[0]) for line in ax.lines if line.get_ms() == 12]
        for ax in figure.axes
    ]
    assert rings == [[(4, 0.3), (6, 0.25)], [(2, 0.3)]]
    assert "dense, full table: best 0.300 at epoch 2, 0.100 at epoch 4" in (
        figures.describe_learning_curves(CURVES, "score")
    )


@pytest.mark.parametrize("curves", [{}, {("linear", "full"): []}])
def test_no_curve_is_an_error(curves):
    with pytest.raises(ValueError, match="at least one curve"):
        figures.learning_curves(curves, "score")


def test_a_loss_says_how_far_the_second_score_is_below_the_first():
    written = texts(figures.two_scores(*ARGS))
    assert {"-10.0%", "-4.0%", "linear", "dense", "nDCG@10"} <= set(written)


def test_in_words_both_scores_are_named():
    text = figures.describe_two_scores(*ARGS)
    assert "linear: full table 0.4000, MEmCom 0.3600 (-10.0%)" in text
    assert "dense: full table 0.3750" in text


def test_no_pairs_is_an_error():
    with pytest.raises(ValueError, match="at least one pair"):
        figures.two_scores({}, ("a", "b"), "score")


@pytest.mark.parametrize(
    ("method", "counted", "budget", "found"),
    [
        # Only 4x and 16x of the narrow model, and 16x of the wide one, fit into 4,000 bytes.
        ("memcom", "nbytes", 4_000, ["narrow: best 0.3800", "wide: best 0.3900"]),
        ("memcom", "nbytes", 3_999, ["narrow: best 0.3500", "wide: nothing fits"]),
        ("memcom", "total_nbytes", 4_000, ["narrow: best 0.3500", "wide: nothing fits"]),
        ("hash", "nbytes", 64_000, ["narrow: best 0.4000", "wide: best 0.4200"]),
    ],
)
def test_the_best_within_a_budget(method, counted, budget, found):
    text = figures.describe_models_by_bytes(MODELS, method, counted, budget)
    assert all(each in text for each in found), text


def test_the_axes_do_not_move_with_method_or_budget():
    axes = [
        figures.models_by_bytes(MODELS, method, "nbytes", budget).axes[0]
        for method, budget in (("memcom", 1_000), ("hash", 50_000))
    ]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert axes[0].get_ylim() == axes[1].get_ylim()


def test_the_best_is_ringed_where_it_lies():
    figure = figures.models_by_bytes(MODELS, "memcom", "nbytes", 5_000)
    rings = [tuple(line.get_xydata()[0]) for line in figure.axes[0].lines if line.get_ms() == 16]
    assert rings == [(4_000, 0.38), (4_000, 0.39)]


def test_a_method_that_no_model_has_is_named():
    with pytest.raises(ValueError, match="'tt'"):
        figures.models_by_bytes(MODELS, "tt", "nbytes", 1_000)
