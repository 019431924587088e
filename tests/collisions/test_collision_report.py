"""The report on small layers, by popularity, and on every compressor."""

from __future__ import annotations

import time

import numpy as np
import pytest

import memcom
from memcom import collisions
from tests.collisions.fakes import Fake, brute_pairs


def test_quotient_remainder_has_no_full_collision_and_hashing_has_many():
    n, m = 1000, 32
    ids = np.arange(n)
    qr = collisions.report(Fake({"remainder": ids % m, "quotient": ids // m}))
    assert (qr.colliding_ids, qr.distinct_codes, qr.findings) == (0, n, ())
    hashed = collisions.report(Fake({"table": ids % m}))
    assert (hashed.distinct_codes, hashed.colliding_ids) == (m, n)
    assert hashed.tables[0].sizes.tolist() == [31, 32]
    assert hashed.tables[0].size_counts.tolist() == [24, 8]  # 1000 = 8 * 32 + 24 * 31
    assert "968 ids are copies of another id" in str(hashed)


def test_popularity_weights():
    emb = Fake({"table": np.array([0, 1, 0, 2, 0])})
    report = collisions.report(emb, counts=np.array([50, 30, 10, 6, 4]))
    assert report.colliding_mass == pytest.approx(0.64)  # ids 0, 2, 4
    assert report.overshadowed_mass == pytest.approx(0.14)  # ids 2 and 4 behind id 0
    assert report.tables[0].overshadowed_mass == pytest.approx(0.14)
    assert "64.00%" in str(report)


@pytest.mark.parametrize("counts", [np.ones(4), -np.ones(5), np.array([1, 2, np.nan, 1, 1])])
def test_bad_counts_are_refused(counts):
    with pytest.raises(ValueError, match="counts must"):
        collisions.report(Fake({"table": np.arange(5)}), counts=counts)


def test_an_empty_layer_and_one_id():
    assert collisions.report(Fake({"table": np.zeros(0)})).distinct_codes == 0
    one = collisions.report(Fake({"table": np.zeros(1)}), counts=[3])
    assert (one.distinct_codes, one.colliding_ids, one.largest_group) == (1, 0, 1)


def test_more_codes_than_a_float_can_count():
    rng = np.random.default_rng(0)
    report = collisions.report(Fake({"memory": rng.integers(0, 2**20, (50, 256))}))
    assert report.possible_codes > 10**1500
    assert report.expected.pairs == 0.0
    assert report.expected.distinct == 50.0
    assert "of about 10^" in str(report)


@pytest.mark.parametrize("name", memcom.available())
def test_every_layer_can_be_asked(name):
    options = {} if name == "full" else {"ratio": 3}
    emb = memcom.build(name, 400, 32, **options)
    report = collisions.report(emb, counts=np.arange(400, 0, -1))
    assert report.colliding_pairs == len(brute_pairs(emb))
    assert {use.name for use in report.tables} <= set(emb.state_dict())
    rows = emb.materialize().detach().numpy()
    distinct = len(np.unique(rows + 0.0, axis=0))
    assert collisions.equal_vectors(emb, chunk_size=64).num_distinct == distinct
    assert distinct <= report.distinct_codes  # equal addresses force equal vectors
    if "multiplier" not in emb.state_dict():  # untrained multipliers are all 1
        assert distinct == report.distinct_codes


@pytest.mark.slow
def test_two_million_ids_in_seconds():
    n, m = 2_000_000, 50_000
    ids = np.arange(n)
    emb = Fake({"a": ids % m, "b": (ids * 2654435761) % 2**32 % m})
    start = time.process_time()
    report = collisions.report(emb, counts=np.ones(n))
    assert time.process_time() - start < 20
    pairs = (ids % m) * m + (ids * 2654435761) % 2**32 % m
    assert report.distinct_codes == len(np.unique(pairs))
