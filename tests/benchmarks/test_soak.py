"""The soak in short, and its eyes: a deviation, a changed bit and growth are seen."""

from __future__ import annotations

import copy

import pytest
import torch

from benchmarks.faults import soak as module
from benchmarks.faults.soak import Case, Soaked, compare, soak, train

pytest.importorskip("numba")


@pytest.mark.parametrize("optimizer", module.OPTIMIZERS)
@pytest.mark.parametrize("method", module.METHODS)
def test_fused_steps_leave_neither_reference(method, optimizer):
    trained = train(Case(method, optimizer, 3), 20)
    assert trained.unequal_bits == trained.moved == 0
    assert 0 < trained.deviation < 1e-5  # float32 is not float64


@pytest.mark.slow
@pytest.mark.skipif(not module.Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_a_soak_of_seconds(monkeypatch):
    monkeypatch.setattr(module, "STEPS", (5, 50))
    lines = []
    found = soak(0.05, lines.append)
    assert found.layers >= 2
    assert found.steps >= 10
    assert len(found.resident) >= 2
    assert not found.drifted
    assert "0 drifted" in str(found)


def test_what_has_drifted_is_seen():
    layer = module.memcom.build("hash", module.NUM_EMBEDDINGS, module.EMBEDDING_DIM, ratio=4)
    half = torch.arange(module.NUM_EMBEDDINGS) < 5

    def found(change=lambda table: None, twin=layer, reference=layer):
        changed = copy.deepcopy(layer)
        with torch.no_grad():
            change(changed.table)
        return compare(layer, changed, twin, reference, half)

    assert found() == (0, 0.0, 0)
    row = int(layer.addresses(torch.tensor([0]))["table"])
    assert found(lambda table: table[row, 3].mul_(1 + 1e-6)).unequal_bits == 1
    assert found(lambda table: table[row].mul_(1.5)).deviation > 1e-2
    assert found(lambda table: table[row].fill_(torch.nan)).deviation == float("inf")
    assert found(lambda table: table[row].mul_(1.5)).moved == 0
    others = set(layer.addresses(torch.arange(5))["table"].tolist())
    unread = next(k for k in range(len(layer.table)) if k not in others)
    assert found(lambda table: table[unread].mul_(1.5)).moved > 0


def test_growth_is_between_the_middle_and_the_last_third():
    start = [(float(k), 100.0 + 100 * k) for k in range(3)]
    steady = Soaked(1, resident=start + [(k, 500.0) for k in range(3, 9)])
    assert (steady.grown, steady.faults) == (0.0, 0)
    growing = Soaked(1, resident=[(k, 500.0 + 20 * k) for k in range(9)])
    assert (growing.grown, growing.faults) == (60.0, 1)
    assert Soaked(1, drifted=["x"]).faults == 1
