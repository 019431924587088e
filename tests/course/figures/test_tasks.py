"""What is drawn and said equals the planner's bytes and plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import memcom
from memcom.course.figures.tasks import (
    CRITEO_FIELDS,
    describe_field_bytes,
    field_bytes,
    gain_kept,
    gains_by_task,
)
from memcom.plots import to_png

FIELDS = {"flag": 3, "hour": 24, "plane": 4_000, "place": 20_000}
SHOWN = {"embedding_dim": 16, "method": "hash", "ratio": 8.0, "threshold": 200}


@pytest.mark.parametrize(
    ("score", "control", "full", "kept"),
    [(0.25, 0.2, 0.3, 0.5), (0.6, 0.7, 0.5, 0.5), (0.3, 0.2, 0.3, 1), (0.1, 0.2, 0.3, -1)],
)
def test_gain_kept_in_either_direction(score, control, full, kept):
    assert gain_kept(score, control, full) == pytest.approx(kept)


def test_no_gain_no_share():
    with pytest.raises(ValueError, match=r"both score 0\.4"):
        gain_kept(0.3, 0.4, 0.4)


def test_marks_lie_at_the_shares():
    scores = {
        "rank": {"popular": [0.2], "full": [0.28, 0.32], "hash": [0.25, 0.3]},
        "click": {"prior": [0.7], "full": [0.5], "bias-only": [0.65], "hash": [0.55]},
    }
    figure = gains_by_task(scores, {"rank": "popular", "click": "prior"})
    marks = [{line.get_label(): line.get_xdata() for line in ax.lines} for ax in figure.axes]
    np.testing.assert_allclose(marks[0]["hash"], [0.5, 1.0])
    np.testing.assert_allclose(marks[1]["hash"], [0.75])
    np.testing.assert_allclose(marks[1]["bias-only"], [0.25])
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("lost", ["full", "popular"])
def test_a_panel_needs_both_ends(lost):
    found = {"popular": [0.2], "full": [0.3], "hash": [0.25]}
    del found[lost]
    with pytest.raises(ValueError, match=f"rank lacks {lost}"):
        gains_by_task({"rank": found}, {"rank": "popular"})


def test_fields_are_drawn_at_their_bytes():
    figure = field_bytes(FIELDS, **SHOWN)
    plans = memcom.plan_tables("hash", FIELDS, 16, ratio=8, threshold=200)
    (ax,) = figure.axes
    single = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert {float(line.get_xdata()[0]) for line in single} == {
        *(float(64 * size) for size in FIELDS.values()),
        *(float(planned.nbytes) for planned in plans.values()),
    }
    assert to_png(figure).startswith(b"\x89PNG")


def test_words_count_what_stays_full():
    text = describe_field_bytes(FIELDS, **SHOWN)
    assert f"{64 * sum(FIELDS.values()):,} bytes in full" in text
    assert f"2 fields of at most 200 ids stay full and take {64 * 27:,}" in text


@pytest.mark.parametrize("threshold", [200, 100_000])
def test_out_of_reach_is_said_and_drawn(threshold):
    shown = {**SHOWN, "ratio": 2000.0, "method": "memcom", "threshold": threshold}
    assert "out of reach" in describe_field_bytes(FIELDS, **shown)
    assert "out of reach" in field_bytes(FIELDS, **shown).axes[0].get_title(loc="left")


def test_criteo_has_its_rows():
    # 33,762,577 rows in 26 tables: the size quoted for this model everywhere.
    assert (len(CRITEO_FIELDS), sum(CRITEO_FIELDS.values())) == (26, 33_762_577)
