"""Dry runs: bytes and times without running what they count."""

from __future__ import annotations

from memcom.sweep import dry_run, run, tables
from tests.sweep.toy import spec


def test_a_dry_run_plans_bytes_and_runs_nothing(tmp_path, data):
    text = dry_run(list(tables(spec(ratios=(2, 40)), data)), tmp_path, probe=False)
    assert not list(tmp_path.iterdir())
    (full,) = [line.split() for line in text.splitlines() if line.startswith("  full")]
    assert full[1:4] == [f"{4 * 16 * data.num_items:,}", "1.00", "4"]
    lines = [line for line in text.splitlines() if line.startswith("  memcom")]
    assert ["cannot be that small" in line for line in lines] == [False, True]
    assert "?" in text


def test_a_dry_run_knows_what_is_done_and_how_long_it_took(tmp_path, data):
    run(spec(), tmp_path, data=data, progress=False)
    text = dry_run(list(tables(spec(seeds=5), data)), tmp_path, probe=False)
    assert ", 4 done" in text
    assert "?" not in text
    assert text.splitlines()[-1].startswith(f"{1 + 11 * 6} trials; about ")
