from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test adds to its `now`, in seconds."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("memcom.profiling.timing.time.perf_counter", lambda: clock.now)
    return clock
