"""Neighbours of a text, before and after its table was compressed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from memcom.course import figures
from tests.course.figures.pictures import texts

ANGLES = np.radians([0, 10, 20, 30, 40, 50, 60, 80])
MOVED = np.radians([0, 10, 20, 30, 40, 90, 60, 80])
TITLES = [f"title {i}" for i in range(8)]
SUBJECTS = ["Law"] * 4 + ["Music"] * 4
VECTORS = {
    name: np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for name, angles in (("full table", ANGLES), ("hash, 16x", MOVED))
}
ARGS = (TITLES, SUBJECTS, VECTORS)
POINTS = [
    {"label": "int8", "method": "int8", "ratio": 3.96, "error": 0.0, "kept": 0.99, "accuracy": 0.8},
    {
        **{"label": "hashing", "method": "hash(bits=8)", "ratio": 16},
        **{"error": 0.9, "kept": 0.2, "accuracy": 0.5},
    },
]


def test_neighbours_are_those_of_the_least_angle():
    label, found = figures.neighbours(*ARGS, query="title 0", table="hash, 16x")
    assert label == "Law"
    assert [each.text for each in found] == [f"title {i}" for i in (1, 2, 3, 4, 6, 7)]
    assert [each.kept for each in found] == [True] * 5 + [False]  # title 5 has gone
    assert [each.label for each in found] == ["Law"] * 3 + ["Music"] * 3
    assert np.allclose([each.now for each in found], np.cos(np.radians([10, 20, 30, 40, 60, 80])))
    assert all(each.now == pytest.approx(each.before) for each in found)


def test_the_words_say_what_the_picture_shows():
    said = figures.describe_nearest_texts(*ARGS, query="title 0", table="hash, 16x")
    assert "of the 6 nearest, 5 are those of the full table and 3 are of the same subject" in said
    assert "cosine 0.98, with the full table 0.98" in said
    drawn = texts(figures.nearest_texts(*ARGS, query="title 0", table="hash, 16x"))
    assert "title 7 – Music  (new)" in drawn
    assert "title 4 – Music" in drawn


def test_each_point_is_named():
    drawn = texts(figures.error_and_retrieval(POINTS, 0.82, 0.03))
    assert {"int8 4×", "hashing 16×", "full table"} <= set(drawn)


def test_a_file_is_compared_with_the_first():
    drawn = texts(figures.files_of_models({"full": (3_000, 1_000), "int8": (600, 1_000)}))
    assert {"4 kB", "1.6 kB, 2.50×", "the table", "all else"} <= set(drawn)


def test_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="query"):
        figures.neighbours(*ARGS, query="title 9", table="hash, 16x")
    with pytest.raises(ValueError, match="table"):
        figures.neighbours(*ARGS, query="title 1", table="qr")
    with pytest.raises(ValueError, match="at least one point"):
        figures.error_and_retrieval([], 0.8, 0.1)
    with pytest.raises(ValueError, match="at least one file"):
        figures.files_of_models({})
