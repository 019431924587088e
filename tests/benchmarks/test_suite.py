"""A whole run at tiny sizes, and its comparison with the targets."""

from __future__ import annotations

import csv
import math

import pytest

import benchmarks
import memcom
from benchmarks import suite, targets

TINY = {
    "sizes": [(300, 8)],
    "batches": [1, 32],
    "kinds": ["zipf"],
    "threads": [1],
    "seconds": 0.0,
    "search": [500],
    "every": [2000],
    "growth": [300],
    "growth_batches": [1, 32],
    "memory": [2000],
    "scale": [5000],
    "steps": 40,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every part once, at sizes that show nothing but that it runs."""
    out = tmp_path_factory.mktemp("bench") / "new folder" / "out.csv"
    logged = []
    return benchmarks.run(out, log=logged.append, **TINY), out, logged


@pytest.mark.slow
def test_a_run_times_every_method_and_writes_it_down(whole):
    rows, out, logged = whole
    with out.open() as file:
        written = list(csv.DictReader(file))
    assert [r["method"] for r in written] == [r["method"] for r in rows]
    assert [path.name for path in out.parent.iterdir()] == ["out.csv"]
    promised = {(t.phase, t.method, t.baseline) for t in targets.TARGETS}
    assert {p for p in promised if p[0] != targets.CHECK} <= {
        (r["phase"], r["method"], r["baseline"]) for r in rows
    }
    assert all(r["torch"] and r["processor"] and r["load"] for r in written)
    # The id check needs a million ids to be seen.
    assert {r["phase"] for r in rows} == set(targets.PARTS) - {targets.CHECK}
    assert {line.split(",")[0] for line in logged} == {r["phase"] for r in rows}
    for row in rows:
        if row["method"] == row["baseline"]:  # so tiny a table may leave no trace in the peak
            assert row["ratio"] == 1 or row["resident"] == 0
        if row["phase"] not in (targets.MEMORY, targets.SCALE):
            assert row["seconds_low"] <= row["seconds"] <= row["seconds_high"]
            assert row["threads"] == 1


@pytest.mark.slow
def test_memory_by_three_meters(whole):
    table, compressed = (r for r in whole[0] if r["phase"] == targets.MEMORY)
    assert table["checkpoint"] == 2000 * 64 * 4
    assert table["formula"] == 4 * table["checkpoint"] + 4  # Adam's step counter
    assert compressed["checkpoint"] == (125 * 64 + 2000) * 4
    assert compressed["formula"] == 3 * compressed["checkpoint"]
    for row in (table, compressed):  # beside the formula: vectors and gradients of 32 ids
        assert row["formula"] <= row["allocated"] < row["formula"] + 10 * 32 * 64 * 4


@pytest.mark.slow
def test_the_model_at_scale_learns(whole):
    (row,) = (r for r in whole[0] if r["phase"] == targets.SCALE)
    assert row["checkpoint"] <= 5000 * 64 * 4 / 16
    assert row["formula"] == 3 * row["checkpoint"]
    assert row["loss_last"] < row["loss_first"]
    assert row["ids_per_second"] == pytest.approx(32 / row["seconds"], rel=1e-3)


@pytest.mark.slow
def test_the_whole_registry_is_timed(whole):
    found = [r for r in whole[0] if r["phase"] == targets.EVERY]
    assert set(memcom.available()) - {"full"} <= {r["method"].split(",")[0] for r in found}
    for row in found:  # tables of other packages tell no bytes
        assert ("checkpoint" in row) == ("bags" not in row["method"])
    assert {r["batch"] for r in found} == {32}


@pytest.mark.slow
def test_growth_is_timed_with_the_bytes_of_each_table(whole):
    found = [r for r in whole[0] if r["phase"] == targets.GROWTH]
    places = {(r["method"], r["batch"]) for r in found}
    assert len(found) == len(places) == 2 * (4 + 3)  # lookups and steps
    assert {r["checkpoint"] for r in found if r["method"] == "nn.Embedding"} == {300 * 64 * 4}


@pytest.mark.parametrize("settings", [{"round": 3}, {"parts": ["forward", "backward"]}])
def test_an_unknown_setting_or_part_is_refused(settings):
    with pytest.raises(ValueError, match=r"(settings|parts) are .*got (round|backward)"):
        benchmarks.run(**settings)


def test_a_part_without_memory_is_left_out_and_logged(monkeypatch):
    monkeypatch.setattr(suite, "free_memory", lambda: 3e9)
    logged = []
    parts = {"parts": ["memory", "scale"], "memory": [10**7], "scale": [10**8]}
    assert benchmarks.run(log=logged.append, **parts) == []
    assert logged == [
        # 4 x 2.56 GB, 3 x 1.6 GB, and 2 GiB to spare
        *["memory, 10,000,000 x 64: left out, it needs 12.4 GB of free memory"] * 2,
        "scale, 100,000,000 x 64: left out, it needs 6.95 GB of free memory",
    ]


def row(target, ratio, **changes):
    place = {"embedding_dim": 64, "threads": 2, "ratio": ratio}
    return {**target._asdict(), **place, **changes}


def test_a_target_is_for_its_number_of_ids():
    (smaller,) = (t for t in targets.TARGETS if (t.method, t.batch) == ("tt", 4096))
    rows = [row(smaller, 4.0), row(smaller, 9.0, num_embeddings=10**6)]
    (verdict,) = (v for v in benchmarks.check(rows) if v.measured is not None)
    assert verdict == (smaller, pytest.approx(4.0))
    assert (smaller.num_embeddings, smaller.limit) == (10**5, 6)
    assert all(t.num_embeddings == 10**7 for t in targets.TARGETS if t.phase == targets.MEMORY)


def test_no_target_stands_twice():
    assert len({t[:4] for t in targets.TARGETS}) == len(targets.TARGETS)


def test_targets_take_the_geometric_mean_of_the_right_rows():
    target = targets.TARGETS[0]
    rows = [
        row(target, 0.2),
        row(target, 0.8),
        row(target, 99.0, threads=1),
        row(target, 99.0, num_embeddings=10**5),
        row(target, 99.0, embedding_dim=32),
        row(target, 99.0, method="another"),
    ]
    first, *others = benchmarks.check(rows)
    assert first.target is target
    assert first.measured == pytest.approx(math.sqrt(0.2 * 0.8))
    assert first.holds
    assert all(v.measured is None and v.holds is None for v in others)
    assert benchmarks.check([row(target, 0.61)])[0].holds is False
