"""Facts about the machine."""

from __future__ import annotations

from types import SimpleNamespace

from benchmarks import suite
from benchmarks.machine import SPARE, caches, free_memory


def test_caches_of_the_core_are_those_that_hold_data_beyond_the_first(tmp_path):
    told = [(1, "Data", "32K"), (1, "Instruction", "32K"), (2, "Unified", "1024K")]
    for k, facts in enumerate([*told, (3, "Unified", "32M")]):
        (tmp_path / f"index{k}").mkdir()
        for name, fact in zip(("level", "type", "size"), facts, strict=True):
            (tmp_path / f"index{k}" / name).write_text(f"{fact}\n")
    assert caches(tmp_path) == {"l2_bytes": 1_048_576, "l3_bytes": 33_554_432}


def test_a_system_that_does_not_tell_has_none(tmp_path):
    assert caches(tmp_path / "nothing") == {}


def test_the_guard_of_memory_asks_the_system_not_proc(monkeypatch):
    """macOS and Windows have no /proc: there the guard let everything pass."""
    told = SimpleNamespace(available=SPARE + 1000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: told)
    assert free_memory() == SPARE + 1000
    logged = []
    assert suite._fits(1000, "small", logged.append)
    assert not suite._fits(1001, "large", logged.append)
    assert logged[0] == "small"
    assert "large: left out" in logged[1]
