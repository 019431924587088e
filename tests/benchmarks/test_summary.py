"""What a run says: targets, slow methods, bytes, load; and what the command returns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
import memcom
from benchmarks import summary, targets
from benchmarks.machine import Load

FACTS = {"load": 0.1, "others": 0.05}
PLACE = {"num_embeddings": 10**6, "embedding_dim": 64, "batch": 4096, "threads": 2, **FACTS}


def lookup(ratio, **changes):
    times = {"ratio": ratio, "ratio_low": 0.9 * ratio, "ratio_high": 1.2 * ratio, "seconds": 0.01}
    row = {"phase": "forward", "method": "memcom", "baseline": "nn.Embedding", **PLACE, **times}
    return {**row, **changes}


def test_a_target_is_met_missed_or_not_measured():
    lines, missed = benchmarks.report([lookup(0.5)])
    assert lines[0] == "ok      0.500 (<= 0.600)  forward, memcom / nn.Embedding, batch 4,096"
    assert sum(": not measured" in line for line in lines) == len(targets.TARGETS) - 1
    assert missed == 0
    lines, missed = benchmarks.report([lookup(0.7)])
    assert lines[0].startswith("MISSED  0.700")
    assert missed == 1


def test_the_targets_are_those_of_the_most_threads():
    lines, missed = benchmarks.report([lookup(0.7, threads=1), lookup(0.5)])
    assert missed == 0
    assert lines[0].startswith("ok      0.500")


def test_a_slow_method_needs_a_word():
    slow = {"phase": "registry", "num_embeddings": 10**5}
    lines, missed = benchmarks.report([lookup(9.0, method="tt", **slow)])
    (said,) = (line for line in lines if line.startswith("slow"))
    assert memcom.get("tt").card.slow in said
    assert missed == 0
    lines, missed = benchmarks.report([lookup(9.0, method="hash", **slow)])
    assert any("hash: its card gives no reason" in line for line in lines)
    assert missed == 1
    assert benchmarks.report([lookup(2.9, method="hash", **slow)])[1] == 0


def test_bandwidth_search_and_bytes_are_said():
    rows = [
        lookup(1.0, phase="copy", bytes=2 * 10**8),
        lookup(0.5, phase="top-k", method="topk of memcom", baseline="scores of all items"),
        lookup(0.06, phase="memory", formula=6 * 10**8, allocated=7 * 10**8, resident=8 * 10**8),
        {
            **lookup(1.0, phase="scale", num_embeddings=10**8, formula=48 * 10**8),
            **{"ids_per_second": 10**6, "loss_first": 0.69, "loss_last": 0.4, "rounds": 300},
        },
    ]
    text = "\n".join(benchmarks.report(rows)[0])
    assert "copying a large block: 20.0 GB/s moved (2 threads)" in text
    assert "over 1,000,000 items: 0.010 s, 0.50 times that of scores of all items" in text
    assert "formula 0.60 GB, allocated 0.70 GB, resident 0.80 GB" in text
    # 3 x 4 bytes x 64 x 10^8
    assert "full table with Adam: 76.8 GB" in text
    assert "1,000,000 ids/s, loss 0.690 to 0.400 in 300 steps" in text


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"load": 0.1, "others": 0.0}, "the machine was quiet"),
        ({"load": 0.1, "others": "-"}, "the machine was quiet"),
        ({"load": 0.1, "others": 0.9}, "ratios may be off"),
        ({"load": 2.0, "others": 0.0}, "ratios may be off"),
    ],
)
def test_a_busy_machine_is_said(facts, verdict):
    *_, interval, last = benchmarks.report([lookup(0.5, **facts)])[0]
    assert last.endswith(verdict)
    assert interval == "ratios: median interval (95 %) spans a factor of 1.33"  # 1.2 / 0.9


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

    monkeypatch.setattr(summary, "run", run)
    said = []
    out = tmp_path / "out.csv"
    code = benchmarks.command(out, full=True, threads=(1, 2, 1), only=("step",), tell=said.append)
    assert code == 1
    (got,) = asked
    assert got[0] == out
    assert got[1] == {
        "quick": False,
        "tell": said.append,
        "threads": [1, 2],
        "parts": ["step"],
    }
    assert any(line.startswith("MISSED") for line in said)
    monkeypatch.setattr(summary, "run", lambda out, **settings: [lookup(0.5)])
    assert benchmarks.command(tell=said.append) == 0


@pytest.mark.slow
def test_the_module_is_the_command_too(tmp_path):
    root = Path(__file__).resolve().parents[2]
    words = [sys.executable, "-m", "benchmarks", "--only", "backward"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert "parts are copy, forward, step" in done.stderr
