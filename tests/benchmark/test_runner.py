"""A whole run at tiny sizes, and its comparison with the targets."""

from __future__ import annotations

import csv
import math

import pytest

from memcom import benchmark
from memcom.benchmark import methods, targets

TINY = {"sizes": [(300, 8)], "batches": [1, 32], "kinds": ["zipf"], "threads": [1], "seconds": 0.0}


@pytest.mark.slow
def test_a_run_times_every_method_and_writes_it_down(tmp_path):
    rows = benchmark.run(tmp_path / "out.csv", **TINY, memory=[2000])
    with (tmp_path / "out.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [r["method"] for r in written] == [r["method"] for r in rows]
    assert not list(tmp_path.glob("*.part"))
    promised = {(t.phase, t.method, t.baseline) for t in targets.TARGETS}
    assert promised <= {(r["phase"], r["method"], r["baseline"]) for r in rows}
    assert all(r["torch"] and r["processor"] for r in written)
    for row in rows:
        if row["method"] == row["baseline"]:  # so tiny a table may leave no trace in the peak
            assert row["ratio"] == 1 or row["resident"] == 0
        if row["phase"] != targets.MEMORY:
            assert row["seconds_low"] <= row["seconds"] <= row["seconds_high"]
            assert row["threads"] == 1
    table, compressed = (r for r in rows if r["phase"] == targets.MEMORY)
    assert table["checkpoint"] == 2000 * 64 * 4
    assert table["formula"] == 4 * table["checkpoint"]
    assert compressed["checkpoint"] == (125 * 64 + 2000) * 4
    assert compressed["formula"] == 3 * compressed["checkpoint"]


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match=r"settings are .*got round"):
        benchmark.run(round=3)


def row(target, ratio, **changes):
    size = 10**7 if target.phase == targets.MEMORY else 10**6
    place = {"num_embeddings": size, "embedding_dim": 64, "threads": 2, "ratio": ratio}
    return {**target._asdict(), **place, **changes}


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
    first, *others = benchmark.check(rows)
    assert first.target is target
    assert first.measured == pytest.approx(math.sqrt(0.2 * 0.8))
    assert first.holds
    assert all(v.measured is None and v.holds is None for v in others)
    assert benchmark.check([row(target, 0.61)])[0].holds is False


def test_zipf_ids_are_zipf():
    ids = methods.draw_ids("zipf", 50, 200_000)
    weights = [k**-methods.ZIPF_EXPONENT for k in range(1, 51)]
    counts = ids.bincount(minlength=50) / len(ids)
    assert counts.tolist() == pytest.approx([w / sum(weights) for w in weights], abs=0.004)
