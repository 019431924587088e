"""Ids per row of each table, counted by hand."""

from __future__ import annotations

from math import comb

import numpy as np

import memcom
from memcom import collisions
from tests.collisions.fakes import Fake, memcom_fake


def histogram(use):
    return dict(zip(use.sizes.tolist(), use.size_counts.tolist(), strict=True))


def test_every_id_reads_a_row_of_its_own():
    n = 40
    emb = memcom_fake(np.ones(n), 4)
    report = collisions.report(emb)
    assert report.distinct_codes == n
    assert report.tables[1].one_row_per_id
    assert not report.tables[0].one_row_per_id
    assert "never shared" in str(report)


def test_unused_rows_of_the_stored_table_are_counted():
    emb = Fake({"table": np.array([0, 0, 2])}, table=np.zeros((6, 2)))
    use = collisions.report(emb).tables[0]
    assert (use.rows, use.rows_used, use.largest) == (6, 2, 2)
    assert histogram(use) == {
        0: 4,
        1: 1,
        2: 1,
    }


def test_a_row_read_twice_by_one_id_has_that_id_once():
    emb = Fake({"table": np.array([[1, 1, 2], [0, 1, 1]])})
    use = collisions.report(emb).tables[0]
    assert histogram(use) == {1: 2, 2: 1}


def test_codes_that_no_table_holds_have_no_rows():
    """A generated embedding hashes into 2^32 values per hash: no table, but codes all the same."""
    emb = Fake({"codes": np.array([[5, 2**31], [5, 2**31], [6, 1]])}, network=np.zeros((2, 2)))
    report = collisions.report(emb)
    assert (report.tables, report.distinct_codes, report.colliding_ids) == ((), 2, 2)


def test_reads_with_a_range_of_rows_each_keep_their_order():
    """Product codebooks in one tensor: ascending addresses, yet nothing is lost."""
    ids = np.arange(64)
    emb = Fake({"values": np.stack([ids % 8, 8 + ids // 8], axis=1)}, values=np.zeros((16, 2)))
    report = collisions.report(emb)
    assert not report.tables[0].order_blind
    assert (report.possible_codes, report.findings) == (64, ())


def test_report_finds_order_blind_sharing():
    bits, block = 9, 3
    ids = np.arange(2**bits)
    digits = np.stack([(ids >> (block * j)) & 7 for j in range(3)], axis=1)
    blind = collisions.report(Fake({"table": np.sort(digits, axis=1)}, table=np.zeros((8, 2))))
    assert blind.distinct_codes == comb(8 + 2, 3) == 120
    assert blind.possible_codes == 120
    assert blind.tables[0].order_blind
    assert "at most 120 of 512 codes (23.4%)" in blind.findings[0]
    ordered = collisions.report(Fake({"table": digits}, table=np.zeros((8, 2))))
    assert (ordered.distinct_codes, ordered.findings) == (512, ())


def test_shared_and_summed_binary_codes_in_a_real_layer():
    emb = memcom.BinaryCodeEmbedding(2**9, 8, block_bits=3, shared=True, fusion="sum")
    report = collisions.report(emb)
    assert report.distinct_codes == 120
    assert "the order is lost" in str(report)
