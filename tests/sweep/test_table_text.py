"""Tables as text: everything in its column, and a warning where a score says little."""

from __future__ import annotations

import math

import pytest

from memcom.sweep import Interval, Row, Spec, tables
from memcom.sweep.table_text import markdown_section, terminal_section
from tests.sweep import toy
from tests.tasks.data import planted


@pytest.fixture(scope="module")
def table():
    wanted = Spec(task=toy.NAME, profile="fast", methods=("hash",), ratios=(4,))
    (found,) = tables(wanted, planted())
    return found


def row(method, ratio=4.0, seeds=3, **fields):
    value, loss = Interval(0.5, 0.4, 0.6), Interval(0.05, 0.01, 0.09)
    shown = {"nbytes": 4_000, "total_nbytes": 5_000, "value": value, "loss": loss}
    return Row(method, ratio, None, "finished", seeds=seeds, **shown | fields)


def test_columns_are_aligned_and_what_failed_is_named(table):
    rows = [
        row("popular", None, loss=Interval(0.3, 0.2, 0.4), learning_rate=math.nan),
        row("full", None, compression_ratio=1.0, nbytes=1_000_000),
        row("hash", compression_ratio=4.0, learning_rate=0.01, others={"lookup_time": 0.75}),
        Row("low-rank", 4.0, None, "failed: RuntimeError: out of luck"),
    ]
    lines = terminal_section(table, rows).splitlines()
    assert "clearly above the controls: popular loses +30.0 %" in lines[0]
    heading, hashed = lines[1], next(line for line in lines if line.startswith("hash"))
    for name, cell in (
        ("bytes", "4,000"),
        ("loss %", "+5.0"),
        ("rate", "0.01"),
        ("lookup", "0.75"),
    ):
        assert heading.index(name) + len(name) == hashed.index(cell) + len(cell)
    assert lines[lines.index("ratio 4") + 1] is hashed
    assert lines[-1].split(maxsplit=1) == ["low-rank", "failed: RuntimeError: out of luck"]


def test_the_markdown_has_a_cell_for_every_heading(table):
    rows = [
        row("full", None),
        row("hash", others={"lookup_time": 0.75, "step_time": 1.25}),
        Row("memcom", 4.0, None, "unfinished: 1 of 2 trials"),
    ]
    text = markdown_section(table, rows).splitlines()
    lines = [[cell.strip() for cell in line.split("|")] for line in text if line[:1] == "|"]
    assert {len(line) for line in lines} == {14 + 2}
    assert lines[0][-3:-1] == ["lookup", "step"]
    (hashed,) = (line for line in lines if line[1] == "hash")
    assert hashed[-3:-1] == ["0.75", "1.25"]
    assert "- `memcom` (ratio 4): unfinished: 1 of 2 trials" in text
