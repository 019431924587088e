from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from memcom import data
from memcom.data.synthetic_clicks import PlantedClicks, largest_pairs, load_synthetic_clicks

SMALL = {"num_rows": 4000, "cardinalities": (4, 50, 300), "num_crosses": 2, "seed": 3}


def planted_ids(rows: data.LabelledRows) -> np.ndarray:
    return np.stack([rows.names[f].astype(np.int64)[x] for f, x in rows.fields.items()], axis=1)


def test_log_odds_are_additive_but_for_the_planted_crosses() -> None:
    model = PlantedClicks(((0, 2),), rank=3, seed=5)
    none = np.zeros((4, 0), dtype=np.float32)

    def interaction(left: int, right: int) -> float:
        """What the corner of a 2 x 2 design has on top of its margins; the other field rests."""
        ids = np.full((4, 3), 7)
        ids[:, left], ids[:, right] = [1, 1, 2, 2], [3, 4, 3, 4]
        odds = model.log_odds(ids, none)
        return float(odds[0] - odds[1] - odds[2] + odds[3])

    assert abs(interaction(0, 2)) > 1e-3
    assert interaction(0, 1) == pytest.approx(0, abs=1e-12)
    assert interaction(1, 2) == pytest.approx(0, abs=1e-12)


def test_effects_have_the_standard_deviations_that_were_asked() -> None:
    ids = np.random.default_rng(0).integers(0, 10**6, size=(40_000, 2))
    none = np.zeros((len(ids), 0), dtype=np.float32)
    crosses = PlantedClicks(((0, 1),), rank=8, strength=1.5, bias_strength=0.0)
    fields = PlantedClicks((), bias_strength=0.5)
    assert crosses.log_odds(ids, none).std() == pytest.approx(1.5, rel=0.02)
    assert fields.log_odds(ids, none).std() == pytest.approx(0.5 * 2**0.5, rel=0.02)
    base = PlantedClicks((), bias_strength=0.0, click_rate=0.25).log_odds(ids, none)
    np.testing.assert_allclose(base, np.log(1 / 3))


def test_labels_follow_the_planted_log_odds() -> None:
    rows = load_synthetic_clicks(**{**SMALL, "num_rows": 20_000})
    model = PlantedClicks(largest_pairs((4, 50, 300), 2), rank=2, seed=3)
    odds = model.log_odds(planted_ids(rows), rows.dense)
    share = 1 / (1 + np.exp(-odds))
    assert rows.label.mean() == pytest.approx(share.mean(), abs=0.01)
    assert roc_auc_score(rows.label, odds) > 0.75
    without = PlantedClicks((), rank=2, seed=3).log_odds(planted_ids(rows), rows.dense)
    assert roc_auc_score(rows.label, odds) > roc_auc_score(rows.label, without) + 0.05


def test_ids_are_by_descending_training_frequency_and_parts_chronological() -> None:
    rows = load_synthetic_clicks(**SMALL)
    assert (np.diff(rows.split) >= 0).all()
    assert np.bincount(rows.split).tolist() == [2800, 400, 800]
    for field, ids in rows.fields.items():
        counts = np.bincount(ids[rows.split == 0], minlength=rows.cardinalities[field])
        assert (np.diff(counts) <= 0).all()
        assert counts.tolist() == rows.counts[field].tolist()


def test_one_seed_makes_one_set() -> None:
    once, again = data.load("synthetic-clicks", **SMALL), load_synthetic_clicks(**SMALL)
    other = load_synthetic_clicks(**{**SMALL, "seed": 4})
    assert np.array_equal(once.label, again.label)
    assert np.array_equal(once.fields["C3"], again.fields["C3"])
    assert not np.array_equal(once.label, other.label)


def test_crosses_are_between_the_largest_fields() -> None:
    assert largest_pairs((3, 100, 20, 5), 3) == ((1, 2), (1, 3), (0, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_rows": 5}, "num_rows .*got 5"),
        ({"click_rate": 1.0}, r"click_rate .*got 1\.0"),
        ({"cardinalities": (3, 0)}, r"got \[3, 0\]"),
        ({"num_crosses": 9}, "num_crosses is 9; 3 fields have 0 to 3 pairs"),
    ],
)
def test_bad_sizes_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_synthetic_clicks(**{**SMALL, **options})
