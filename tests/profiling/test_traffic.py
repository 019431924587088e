"""Bytes of a lookup, against sets of lines counted one by one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import memcom
from memcom import profiling


def lines_one_by_one(rows, width):
    """Every byte of every row, by the line that it lies in."""
    return {byte // 64 for row in rows for byte in range(row * width, (row + 1) * width)}


@pytest.mark.parametrize("width", [1, 4, 12, 40, 63, 64, 65, 100, 128, 256])
def test_lines_are_counted_as_by_hand(width):
    rows = torch.randint(90, (60,), generator=torch.Generator().manual_seed(width))
    assert profiling.count_lines(rows, width) == len(lines_one_by_one(rows.tolist(), width))


def test_no_rows_touch_no_lines():
    assert profiling.count_lines(torch.empty(0, dtype=torch.int64), 4) == 0


def test_a_full_table_reads_a_row_for_each_id():
    ids = torch.tensor([3, 3, 9])
    found = profiling.lookup_traffic(nn.Embedding(10, 32), ids)
    assert found == (3 * 8, 3 * 128, 2 * 128, 3 * 128, 10 * 128)
    assert found.asked == 24 + 384 + 384
    assert found.moved == 24 + 256 + 384


def test_memcom_reads_a_row_and_a_number_for_each_id():
    layer = memcom.MEmComEmbedding(1000, 16, num_buckets=100)
    ids = torch.tensor([0, 1, 100, 999])
    found = profiling.lookup_traffic(layer, ids)
    assert found.rows == 4 * (64 + 4)
    rows, numbers = lines_one_by_one([0, 1, 99], 64), lines_one_by_one(ids.tolist(), 4)
    assert found.lines == 64 * (len(rows) + len(numbers))
    assert found.tables == layer.nbytes


@pytest.mark.parametrize("name", ["qr", "bch", "bloom", "memcom-bias"])
def test_several_tables_are_summed(name):
    layer = memcom.build(name, 1000, 16, ratio=4)
    ids = torch.arange(0, 1000, 7)
    found = profiling.lookup_traffic(layer, ids)
    expected = {}
    for table, rows in layer.addresses(ids).items():
        width = 4 * layer.get_parameter(table).shape[1]
        expected[table] = rows.numel() * width, lines_one_by_one(rows.flatten().tolist(), width)
    assert found.rows == sum(nbytes for nbytes, _ in expected.values())
    assert found.lines == 64 * sum(len(lines) for _, lines in expected.values())


def test_the_cache_holds_what_was_read_last():
    table = nn.Embedding(100, 16)  # a row is a line
    before = torch.arange(100)
    held = torch.arange(68, 100)  # as many as 2,048 bytes hold

    def fetched(ids):
        return profiling.lookup_traffic(table, ids, before=before, cache=32 * 64).lines

    assert fetched(held[2:]) == 0  # within the sixteenth to which the end is found
    assert fetched(torch.arange(10)) == 10 * 64
    assert fetched(torch.tensor([0, 99, 0])) == 64
