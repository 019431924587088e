"""Cost against growth: what is timed, the table and the panels by hand."""

from __future__ import annotations

import pytest
import torch

import benchmarks
from benchmarks import growth

SGD = "nn.Embedding, sparse SGD"


def row(method, n, batch, seconds, nbytes, **changes):
    place = {"phase": "growth", "num_embeddings": n, "embedding_dim": 64, "batch": batch}
    facts = {"threads": 2, "l2_bytes": 2**20, "l3_bytes": 2**25}
    return {**place, **facts, "method": method, "seconds": seconds, "checkpoint": nbytes, **changes}


ROWS = [
    row("nn.Embedding", 10**4, 1, 5e-6, 2_560_000),
    row("nn.Embedding", 10**4, 1000, 20e-6, 2_560_000),
    row("nn.Embedding", 10**6, 1000, 90e-6, 256_000_000),
    row("nn.Embedding", 10**6, 1, 7e-6, 256_000_000),
    row("qr, 8 bits", 10**6, 1000, 12.34e-6, 4_251_088),
    row(SGD, 10**6, 1000, 1e-3, 256_000_000),
    row("nn.Embedding", 10**6, 1000, 99.0, 256_000_000, threads=1),
    row("nn.Embedding", 10**6, 1000, 99.0, 256_000_000, phase="forward"),
]


def test_the_table_holds_nanoseconds_of_one_id():
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in benchmarks.growth_table(ROWS).splitlines()
    ]
    assert head == ["work", "method", "ids", "stored", "1", "1,000"]
    assert lines == [
        ["lookup", "nn.Embedding", "10,000", "2.56 MB", "5,000", "20"],
        ["lookup", "nn.Embedding", "1,000,000", "256 MB", "7,000", "90"],
        ["lookup", "qr, 8 bits", "1,000,000", "4.25 MB", "–", "12.3"],
        ["training step", SGD, "1,000,000", "256 MB", "–", "1,000"],
    ]
    assert benchmarks.growth_table(ROWS[-1:]) == ""


def test_panels_are_over_bytes_and_over_the_batch():
    by_bytes, by_batch, *steps = benchmarks.growth_panels(ROWS)
    assert by_bytes.title == "Lookup, 1,000 ids at a time"
    assert by_bytes.lines == {
        "full": [(2_560_000, pytest.approx(20)), (256_000_000, pytest.approx(90))],
        "qr(8 bits)": [(4_251_088, pytest.approx(12.34))],
    }
    assert by_bytes.ends == {"L2": 2**20, "L3": 2**25}
    assert by_batch.title == "Lookup, 1,000,000 ids"
    assert by_batch.lines["full"] == [(1, pytest.approx(7000)), (1000, pytest.approx(90))]
    assert by_batch.ends == {"L2": 2**20 / 256, "L3": 2**25 / 256}  # 256 bytes a vector
    assert [list(panel.lines) for panel in steps] == [["full"], ["full"]]
    assert benchmarks.growth_panels(ROWS[-1:]) == []


def test_where_the_caches_are_unknown_there_are_no_ends():
    rows = [{k: v for k, v in row.items() if not k.startswith("l")} for row in ROWS]
    assert [panel.ends for panel in benchmarks.growth_panels(rows)] == [{}] * 4


@pytest.mark.parametrize(("free", "full"), [(1e12, 1), (1e9, 0)])
def test_the_full_table_is_left_out_where_it_does_not_fit(monkeypatch, free, full):
    monkeypatch.setattr(growth, "free_memory", lambda: free)
    ids = torch.tensor([3, 1, 399])
    (lookups, nbytes), (steps, stepped) = growth.groups(400, 16, 3)
    assert list(lookups) == ["nn.Embedding"] * full + ["memcom", "qr", "qr, 8 bits"]
    assert list(steps) == [SGD] * full + ["memcom, SGD", "qr, SGD"]
    assert nbytes["memcom"] == stepped["memcom, SGD"] == 4 * (25 * 16 + 400)
    assert nbytes["qr"] == 4 * (25 + 16) * 16
    assert nbytes["qr, 8 bits"] == (25 + 16) * (16 + 4)
    for candidate in lookups.values():
        vectors = candidate(ids)
        assert vectors.shape == (3, 16)
        assert vectors.isfinite().all()
        assert not vectors.requires_grad
    for candidate in steps.values():
        candidate(ids)
