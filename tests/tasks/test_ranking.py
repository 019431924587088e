"""The ranking task on real data."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("scipy.stats")

from memcom.data import load
from memcom.sweep import Spec, Store, summarise, sweep
from memcom.sweep.doubts import signal


@pytest.mark.slow
def test_movielens_carries_signal(tmp_path: Path) -> None:
    """The full table clearly beats both controls within a short training."""
    alone = Spec(methods=(), ratios=(), seeds=1, profile="fast")
    (table,) = sweep(alone, tmp_path, data=load("movielens"), progress=False)
    assert "clearly above" in signal(table, summarise(table, Store(tmp_path)))
    assert "WARNING" not in signal(table, summarise(table, Store(tmp_path)))
