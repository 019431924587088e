"""The speed figures draw what they are given, and the bytes in words are those of the layers."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from memcom import plots
from memcom.course.figures.speed import in_time, memory_side_by_side, roofline
from memcom.course.figures.traffic import (
    BEFORE,
    WIDTH,
    describe_lookup_bytes,
    lookup_bytes,
    traffic_of,
    zipf_ids,
)

METERS = [
    {"label": "full table", "formula": 4_000_000, "resident": 4_400_000},
    {"label": "MEmCom", "formula": 250_000, "resident": 300_000},
]


def test_bars_are_as_long_as_the_bytes():
    ax = memory_side_by_side(METERS).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [4e6, 250e3, 4.4e6, 300e3]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["full table", "MEmCom"]
    assert [text.get_text() for text in ax.texts] == ["4 MB", "250 kB", "4.4 MB", "300 kB"]
    hatches = {bar.get_hatch() for bar in ax.patches}
    assert len(hatches) == 2  # told apart in grey


@pytest.mark.parametrize("rows", [[], [{"label": "a"}], [METERS[0], {"label": "b", "formula": 1}]])
def test_rows_without_the_same_meters_are_refused(rows):
    with pytest.raises(ValueError, match="must share 1 to 4 meters"):
        memory_side_by_side(rows)


POINTS = [
    {"method": m, "bytes": b, "seconds": s, "low": 0.9 * s, "high": 1.2 * s}
    for m, b, s in (("full", 1e6, 1e-4), ("full", 1e8, 1e-2), ("memcom", 1e8, 3e-3))
]


def test_a_limit_is_a_line_of_its_rate_and_points_are_where_they_belong():
    figure = roofline(POINTS, {"memory": 1e10, "cache": 5e10})
    ax = figure.axes[0]
    for line, rate in zip(ax.lines[:2], (1e10, 5e10), strict=True):
        assert line.get_xdata() / line.get_ydata() == pytest.approx([rate, rate])
    full, memcom = ax.lines[2:]
    assert list(full.get_xdata()) == [1e6, 1e8]
    assert list(memcom.get_ydata()) == [3e-3]
    assert full.get_marker() != memcom.get_marker()
    said = [text.get_text() for text in ax.texts]
    assert said == ["full table", "MEmCom", "memory: 10 GB/s", "cache: 50 GB/s"]
    left, right = ax.get_xlim()
    assert left < 1e6 < 1e8 < right
    assert plots.to_png(figure).startswith(b"\x89PNG")


def test_a_label_makes_two_curves_of_one_method():
    points = [POINTS[2], {**POINTS[2], "label": "by hand", "seconds": 0.1, "low": 0.1, "high": 0.1}]
    said = [text.get_text() for text in roofline(points, {"memory": 1e10}).axes[0].texts]
    assert said == ["MEmCom", "by hand", "memory: 10 GB/s"]


@pytest.mark.parametrize(("points", "limits"), [([], {"memory": 1.0}), (POINTS, {})])
def test_a_roofline_needs_points_and_limits(points, limits):
    with pytest.raises(ValueError, match="need one of each"):
        roofline(points, limits)


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2 s"), (0.00123, "1.23 ms"), (4.5e-6, "4.5 µs"), (3e-8, "30 ns")]
)
def test_times_are_written_with_a_unit(seconds, text):
    assert in_time(seconds) == text


SIZE = {"num_embeddings": 10_000, "ratio": 16, "batch": 256, "power": 0.0}


def test_the_bytes_of_the_full_table_are_those_of_arithmetic():
    found = traffic_of("full", **SIZE, cache=1)
    assert found.rows == found.output == 256 * WIDTH * 4
    assert found.ids == 8 * 256
    assert found.tables == 10_000 * WIDTH * 4
    # 2.56 MB of rows in a cache of 1 MB: some have to be fetched; in one of 4 MB only those of the
    # ids that were never looked up before.
    assert 0 < found.lines < found.rows
    before = set(zipf_ids(10_000, BEFORE + 256, 0.0)[:BEFORE].tolist())
    new = set(zipf_ids(10_000, BEFORE + 256, 0.0)[BEFORE:].tolist()) - before
    assert traffic_of("full", **SIZE, cache=4).lines == len(new) * WIDTH * 4


def test_a_compressed_table_fits_where_the_full_one_does_not():
    assert traffic_of("memcom", **SIZE, cache=1).lines == 0
    text = describe_lookup_bytes("memcom", **SIZE, cache=1)
    assert "MEmCom: tables of 160 kB" in text
    assert "of which 0 B are rows" in text
    widths = [bar.get_width() for bar in lookup_bytes("memcom", **SIZE, cache=1).axes[0].patches]
    assert sum(widths[3::4]) == 256 * (8 + WIDTH * 4)  # the last bar: ids and vectors


def test_what_cannot_be_that_small_says_so():
    size = {**SIZE, "ratio": 64}
    assert "cannot be 64 times smaller" in describe_lookup_bytes("memcom", **size, cache=1)
    figure = lookup_bytes("memcom", **size, cache=1)
    assert any("own weight" in text.get_text() for text in figure.axes[0].texts)
