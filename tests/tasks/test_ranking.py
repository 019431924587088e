"""The ranking task on real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from memcom.data import load
from memcom.sweep import Spec, Store, run, summarise
from memcom.sweep.caveats import caveats


@pytest.mark.slow
def test_movielens_carries_signal(tmp_path: Path) -> None:
    """The full table clearly beats both controls within a short training."""
    alone = Spec(methods=(), ratios=(), seeds=1, profile="fast")
    (table,) = run(alone, tmp_path, data=load("movielens"), progress=False)
    about_signal = caveats(table, summarise(table, Store(tmp_path)))[0]
    assert "clearly above" in about_signal
    assert "WARNING" not in about_signal
