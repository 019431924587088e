"""Report of a run: targets, slow methods, bytes, load; and the exit code of the command."""

from __future__ import annotations

import pytest

import benchmarks
import memcom
from benchmarks import reporting, targets
from benchmarks.machine import Load

FACTS = {"load": 0.1, "others": 0.05}
PLACE = {"num_embeddings": 10**6, "embedding_dim": 64, "batch": 4096, "threads": 2, **FACTS}


def lookup(ratio, **changes):
    times = {"ratio": ratio, "ratio_low": 0.9 * ratio, "ratio_high": 1.2 * ratio, "seconds": 0.01}
    row = {"phase": "forward", "method": "memcom", "baseline": "nn.Embedding", **PLACE, **times}
    return {**row, **changes}


def starts(lines, *cells):
    """Lines of the report whose first cells are these."""
    return [line for line in lines if line.replace("<= ", "<=").split()[: len(cells)] == [*cells]]


def test_a_target_is_met_missed_or_not_measured():
    lines, missed = benchmarks.report([lookup(0.5)])
    (line,) = starts(lines, "ok", "0.500", "<=0.600")
    assert "forward, memcom / nn.Embedding, batch 4,096" in line
    assert sum(": not measured" in line for line in lines) == len(targets.TARGETS) - 1
    assert missed == 0
    lines, missed = benchmarks.report([lookup(0.7)])
    assert len(starts(lines, "MISSED", "0.700")) == 1
    assert missed == 1


def test_the_targets_are_those_of_the_most_threads():
    lines, missed = benchmarks.report([lookup(0.7, threads=1), lookup(0.5)])
    assert missed == 0
    assert starts(lines, "ok", "0.500")


def test_a_slow_method_needs_a_reason():
    slow = {"phase": "registry", "num_embeddings": 10**5}
    lines, missed = benchmarks.report([lookup(9.0, method="dhe", **slow)])
    (line,) = starts(lines, "slow", "9.0")
    assert memcom.get("dhe").card.slow in line
    assert missed == 0
    lines, missed = benchmarks.report([lookup(9.0, method="hash", **slow)])
    (line,) = starts(lines, "MISSED", "9.0")
    assert "hash" in line
    assert missed == 1
    assert benchmarks.report([lookup(2.9, method="hash", **slow)])[1] == 0


def test_a_method_with_a_target_needs_no_reason_and_another_package_neither():
    place = {"phase": "registry", "num_embeddings": 10**5}
    for ratio, mark in ((5.9, "ok"), (6.1, "MISSED")):  # its target is 6
        lines, missed = benchmarks.report([lookup(ratio, method="tt", **place)])
        (line,) = [line for line in lines if " tt / nn.Embedding, batch 4,096" in line]
        assert line.startswith(mark)
        assert "100,000 ids" in line
        assert missed == (mark == "MISSED")
    other = lookup(9.0, phase="registry", method="torch, 8 bits, bags of 1")
    assert benchmarks.report([other])[1] == 0


def test_growth_is_reported_in_nanoseconds():
    place = {"num_embeddings": 10**4, "batch": 100, "checkpoint": 2_560_000}
    row = lookup(1.0, phase="growth", method="nn.Embedding", seconds=3e-6, **place)
    lines, missed = benchmarks.report([row])
    assert missed == 0
    assert ["lookup", "nn.Embedding", "10,000", "2.56", "MB", "30"] in [x.split() for x in lines]


def test_bandwidth_search_and_bytes_are_reported():
    rows = [
        lookup(1.0, phase="copy", bytes=2 * 10**8),
        lookup(0.5, phase="top-k", method="topk of memcom", baseline="scores of all items"),
        lookup(0.06, phase="memory", formula=6 * 10**8, allocated=7 * 10**8, resident=8 * 10**8),
        {
            **lookup(1.0, phase="scale", num_embeddings=10**8, resident=53 * 10**8),
            **{"ids_per_second": 10**6, "loss_first": 0.69, "loss_last": 0.4, "rounds": 300},
        },
    ]
    text = "\n".join(benchmarks.report(rows)[0])
    assert "20 GB a second (2 threads)" in text
    assert "over 1,000,000 items: 0.010 s, 0.50 times that of scores of all items" in text
    assert "formula 600 MB, torch's allocator 700 MB, resident 800 MB" in text
    assert "76.8 GB" in text  # 3 x 4 bytes x 64 x 10^8
    assert "1,000,000 ids a second" in text
    assert "from 0.690 to 0.400 in 300 steps" in text


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"load": 0.1, "others": 0.0}, "the machine was quiet"),
        ({"load": 0.1, "others": "-"}, "the machine was quiet"),
        ({"load": 0.1, "others": 0.9}, "ratios may be off"),
        ({"load": 2.0, "others": 0.0}, "the machine was quiet"),
        ({"load": 2.0, "others": "-"}, "ratios may be off"),
    ],
)
def test_a_busy_machine_is_reported(facts, verdict):
    *_, interval, last = benchmarks.report([lookup(0.5, **facts)])[0]
    assert verdict in last
    assert "1.33" in interval  # 1.2 / 0.9


def test_own_work_is_not_that_of_others():
    load = Load()
    sum(range(3_000_000))
    read = load.read()
    assert read["load"] >= 0
    assert read["others"] == "-" or 0 <= read["others"] <= 1024


def test_the_command_passes_on_and_returns(monkeypatch, tmp_path):
    asked = []

    def run(out, **settings):
        asked.append((out, settings))
        return [lookup(0.7)]

    monkeypatch.setattr(reporting, "run", run)
    said = []
    out = tmp_path / "out.csv"
    code = benchmarks.command(out, full=True, threads=(1, 2, 1), only=("step",), log=said.append)
    assert code == 1
    (got,) = asked
    assert got[0] == out
    assert got[1] == {
        "quick": False,
        "log": said.append,
        "threads": [1, 2],
        "parts": ["step"],
    }
    assert any(line.startswith("MISSED") for line in said)
    monkeypatch.setattr(reporting, "run", lambda out, **settings: [lookup(0.5)])
    assert benchmarks.command(log=said.append) == 0
