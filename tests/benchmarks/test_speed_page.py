"""A run on paper: what is written is read again, and said with its load."""

from __future__ import annotations

import pytest

import benchmarks
from memcom._files import write_csv

FACTS = {
    **{
        "load": 0.02,
        "others": 0.0,
        "processor": "8086",
        "cores": 2,
        "time": "2026-01-01T00:00:00Z",
    },
    **{"torch": "2.13.0+cpu", "numba": "0.61", "fbgemm-gpu-cpu": "-"},
}
PLACE = {"num_embeddings": 10**6, "embedding_dim": 64, "ids": "zipf", "threads": 2, **FACTS}
TIMES = {"ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6}
ROWS = [
    {"phase": "forward", "method": "memcom", "baseline": "nn.Embedding", "batch": 4096},
    {"phase": "forward", "method": "memcom", "baseline": "nn.Embedding", "batch": 1},
    {"phase": "step", "method": "memcom, SGD", "baseline": "nn.Embedding, sparse SGD", "batch": 64},
]
ROWS = [{**row, **PLACE, **TIMES} for row in ROWS]
OTHERS = [
    {**ROWS[0], "threads": 1},
    {**ROWS[0], "num_embeddings": 10**5},
    {**ROWS[0], "phase": "bags"},
    {**ROWS[0], "method": "memcom, plain"},
]
SCALE = {
    **{"phase": "scale", "method": "memcom, lazy Adam", "batch": 64, **PLACE},
    **{"num_embeddings": 10**8, "resident": 5 * 10**9, "ids_per_second": 2_000_000},
    **{"loss_first": 0.7, "loss_last": 0.5, "rounds": 300},
}
MEMORY = {
    **{"phase": "memory", "method": "memcom, lazy Adam", "baseline": "b", "batch": 64, **PLACE},
    **{"ratio": 0.06, "formula": 600, "allocated": 10**9, "resident": 2 * 10**9},
}
del MEMORY["threads"]


def test_rows_survive_the_file(tmp_path):
    write_csv(tmp_path / "run.csv", [*ROWS, SCALE, MEMORY])
    assert benchmarks.read_rows(tmp_path / "run.csv") == [*ROWS, SCALE, MEMORY]


def test_panels_hold_the_targets_size_and_more_than_one_id():
    panels = benchmarks.speed_panels([*OTHERS, *ROWS, SCALE, MEMORY])
    assert panels == {"Lookup": [ROWS[0]], "Training step": [ROWS[2]]}


def cells(text):
    """Cells of each line of a Markdown table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_the_table_holds_ratio_and_target():
    text = benchmarks.speed_markdown([*ROWS, SCALE, MEMORY])
    table = cells(text)
    work = ["forward", "memcom", "nn.Embedding", "4,096", "1,000,000"]
    assert [*work, "0.500", "≤ 0.6", "met"] in table
    work = ["forward", "qr", "nn.Embedding", "4,096", "1,000,000"]
    assert [*work, "not measured", "≤ 0.6", ""] in table
    assert "registry" not in text
    missed = benchmarks.speed_markdown([{**ROWS[0], "ratio": 0.61}])
    assert ["0.610", "≤ 0.6", "**missed**"] in [line[-3:] for line in cells(missed)]
    for fact in ("8086, 2 cores", "threads used: 2", "torch 2.13.0+cpu", "fbgemm-gpu-cpu -"):
        assert fact in text
    assert "allocator 1 GB, resident 2 GB" in text
    assert "100,000,000 ids of width 64" in text
    assert "2,000,000 ids a second" in text
    assert "76.8 GB" in text  # 3 x 4 bytes x 64 x 10^8


def lookup(method, batch, ratio, **changes):
    row = {"phase": "registry", "method": method, "baseline": "nn.Embedding", "batch": batch}
    return {**row, **PLACE, **TIMES, "ratio": ratio, **changes}


def test_every_method_has_a_line_and_is_missed_if_one_of_its_targets_is():
    smaller = {"num_embeddings": 10**5}
    rows = [
        *(lookup("int8", 4096, 0.79), lookup("int8", 65536, 0.71)),
        *(lookup("qr, 4 bits", 4096, 0.9), lookup("qr, 4 bits", 65536, 0.8)),
        lookup("FBGEMM, 8 bits, bags of 1", 4096, 1.456),
        *(lookup("dhe", 4096, 99.0, **smaller), lookup("dhe", 65536, 88.0, **smaller)),
        lookup("dhe", 4096, 1.25, baseline="its matrix products", **smaller),
        lookup("int8", 4096, 77.0, threads=1),
        ROWS[0],
    ]
    head, _, *lines = cells(benchmarks.every_markdown(rows))
    assert head == ["method", "over", "ids", "4,096 at a time", "65,536 at a time", ""]
    table, million = "nn.Embedding", "1,000,000"
    assert lines == [
        ["int8", table, million, "0.79 (≤ 0.8)", "0.71 (≤ 0.7)", "**missed**"],
        ["qr, 4 bits", table, million, "0.90 (≤ 0.9)", "0.80 (≤ 0.8)", "met"],
        ["FBGEMM, 8 bits, bags of 1", table, million, "1.46", "–", ""],
        ["dhe", table, "100,000", "99.00", "88.00", ""],
        ["dhe", "its matrix products", "100,000", "1.25 (≤ 1.2)", "–", "**missed**"],
    ]
    assert benchmarks.every_markdown(ROWS) == ""


@pytest.mark.parametrize(("facts", "said"), [({}, "quiet"), ({"others": 1.4}, "doubtful")])
def test_the_load_is_said(facts, said):
    assert said in benchmarks.speed_markdown([{**row, **facts} for row in ROWS]).splitlines()[1]


def test_every_size_has_a_line_and_all_together_one():
    small = {"num_embeddings": 10**5}
    rows = [
        {**ROWS[0], "batch": 64, "ratio": 0.5},
        {**ROWS[0], "batch": 64, "ratio": 0.125, "ids": "uniform"},
        {**ROWS[0], "batch": 64, "ratio": 2.0, **small},
        {**ROWS[0], "batch": 64, "ratio": 2.0, "ids": "uniform", **small},
        {**ROWS[0], "batch": 64, "ratio": 0.3, "threads": 1},
        {**ROWS[0], "batch": 1, "ratio": 9.0},  # no step has this batch
        ROWS[2],
        SCALE,
        MEMORY,
    ]
    head, _, *lines = cells(benchmarks.sizes_markdown(rows))
    assert head[:5] == ["threads", "ids", "width", "memcom", "qr"]
    assert [line[:4] for line in lines] == [
        ["1", "1,000,000", "64", "0.30"],
        ["1", "all", "", "0.30"],
        ["2", "100,000", "64", "2.00"],
        ["2", "1,000,000", "64", "0.25"],
        ["2", "all", "", "0.71"],
    ]
    assert lines[3].count("0.50") == 1  # the step
