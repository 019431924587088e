"""What the committed sweeps say: curves between measured ratios, and how alike data sets are."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from memcom._files import shipped
from memcom.advice import DataSet, Evidence


@pytest.fixture(scope="module")
def committed():
    return Evidence.committed()


def measured(data, method, ratio):
    """The loss in the sweep's own file."""
    with open(shipped("experiments/results") / data / "summary.csv", newline="") as file:
        (row,) = [r for r in csv.DictReader(file) if (r["method"], r["ratio"]) == (method, ratio)]
    return float(row["compression_ratio"]), float(row["loss"])


def test_a_measured_point_is_on_the_curve(committed):
    ratio, loss = measured("gowalla", "hash", "16.0")
    assert 1 - math.exp(committed.at("gowalla", "hash", ratio)) == pytest.approx(loss, rel=1e-6)


def test_between_two_ratios_the_logarithms_are_interpolated(committed):
    ends = [measured("gowalla", "qr", ratio) for ratio in ("4.0", "16.0")]
    middle = math.sqrt(ends[0][0] * ends[1][0])
    expected = (math.log(1 - ends[0][1]) + math.log(1 - ends[1][1])) / 2
    assert committed.at("gowalla", "qr", middle) == pytest.approx(expected, rel=1e-6)


def test_all_is_kept_at_ratio_1_and_nothing_is_said_beyond_what_was_measured(committed):
    assert committed.at("gowalla", "qr", 1.0) == 0
    assert committed.at("gowalla", "qr", 41.0) is not None
    assert committed.at("gowalla", "qr", 60.0) is None
    assert committed.at("gowalla", "dhe", 16.0) is None


def test_one_data_set_can_be_left_out(committed):
    others = committed.without("gowalla")
    assert "gowalla" not in others.data_sets
    assert others.at("gowalla", "qr", 16.0) is None
    assert others.at("ml-1m", "qr", 16.0) == committed.at("ml-1m", "qr", 16.0)


def test_a_data_set_is_most_like_itself(committed):
    for name, data in committed.data_sets.items():
        weights = committed.likeness(data)
        assert max(weights, key=weights.get) == name
        assert weights[name] == 1
        only_the_number = committed.likeness(DataSet(data.num_embeddings))
        assert only_the_number[name] == 1


def test_counts_describe_a_data_set():
    counts = np.array([1] * 16 + [100] * 2 + [10] * 14)
    data = DataSet.of(counts)
    assert data.num_embeddings == 32
    assert data.head_share == 200 / counts.sum()
    assert data.median_count == np.median(counts)
