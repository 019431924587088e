"""When lookups on a GPU are not given to Triton; none of it needs a GPU."""

from __future__ import annotations

import pytest
import torch

from memcom import kernels
from memcom.kernels import _on_gpu
from memcom.kernels._program import obstacle
from tests.embeddings.cases import make

ANY_GPU = torch.device("cuda", 0)


@pytest.fixture
def working(monkeypatch):
    monkeypatch.setattr(_on_gpu, "HAVE_TRITON", True)
    monkeypatch.setattr(_on_gpu, "trouble", lambda device: "")


@pytest.mark.usefixtures("working")
def test_deterministic_gradients_are_not_summed_by_atomic_operations():
    assert _on_gpu.gpu_obstacle(ANY_GPU, sparse=False) == ""
    torch.use_deterministic_algorithms(True)
    try:
        assert "deterministic" in _on_gpu.gpu_obstacle(ANY_GPU, sparse=False)
        assert _on_gpu.gpu_obstacle(ANY_GPU, sparse=True) == ""
        with torch.no_grad():
            assert _on_gpu.gpu_obstacle(ANY_GPU, sparse=False) == ""
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("working")
def test_without_triton(monkeypatch):
    monkeypatch.setattr(_on_gpu, "HAVE_TRITON", False)
    assert _on_gpu.gpu_obstacle(ANY_GPU, sparse=True) == "triton is not installed"


def test_what_hinders_triton_is_told():
    why = _on_gpu.trouble.__wrapped__(torch.device("cuda", 99))
    assert why.startswith("triton does not work here: ")
    assert "\n" not in why


def test_a_graph_needs_no_triton_kernel(monkeypatch):
    layer = make("memcom")
    monkeypatch.setattr(type(layer), "device", ANY_GPU)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    path = kernels.explain(layer)
    assert path.name == "plain"
    assert "torch.compile fuses" in path.reason


def test_tables_on_another_device_or_in_another_dtype():
    assert "is on cpu, not on cuda:0" in obstacle(make("memcom").recipe(), ANY_GPU)
    layer = make("memcom", dtype=torch.bfloat16)
    assert "bfloat16, not one of" in obstacle(layer.recipe())
    layer = make("memcom")
    layer.multiplier.data = layer.multiplier.data.bfloat16()
    assert obstacle(layer.recipe()) != ""
    assert kernels.explain(layer).name == "plain"
