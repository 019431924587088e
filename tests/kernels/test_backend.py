"""Which backend looks rows up, and that `explain` says so."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import memcom
from memcom import kernels
from memcom.kernels import backend
from memcom.kernels.assembly import assemble
from memcom.kernels.cached import cached_program
from memcom.kernels.cpu import operator
from memcom.kernels.gpu import lookup as gpu
from memcom.kernels.program import layout
from tests.embeddings.cases import make, some_ids

needs_numba = pytest.mark.skipif(not backend.HAVE_NUMBA, reason="numba is not installed")
ANY_GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True, scope="module")
def loaded():
    kernels.warm_up()


@needs_numba
def test_what_the_kernels_cannot_do_stays_plain():
    ids = some_ids(1000)
    assert kernels.explain(make("memcom"), ids).name == "compiled"
    for layer, batch, why in [
        (make("memcom").double(), ids, "torch.float64"),
        (make("memcom", device="meta"), ids, "meta"),
        (make("memcom"), ids.float(), "torch.float32"),
        (make("dhe"), ids, "DHEmbedding computes more"),
        (make("robe").half(), ids, "gradients of torch.float16 rows are left to torch"),
    ]:
        found = kernels.explain(layer, batch)
        assert found.name == "plain"
        assert why in str(found)
    with kernels.plain():
        assert kernels.explain(make("memcom"), ids).name == "plain"


@needs_numba
def test_the_backend_is_chosen_once_a_lookup(monkeypatch):
    chosen = []

    def counting(layer, ids, choose=backend.choose):
        chosen.append(choose(layer, ids))
        return chosen[-1]

    monkeypatch.setattr(backend, "choose", counting)
    monkeypatch.setattr("memcom.embeddings._contract.choose", counting)
    ids = some_ids(20)
    for layer, name in [
        (make("qr"), "compiled"),
        (make("qr").double(), "plain"),
        (make("small-dim"), "compiled"),  # more than its recipe: the rows are padded
    ]:
        chosen.clear()
        with torch.no_grad():
            layer(ids)
        assert [found.name for found in chosen] == [name]
        with torch.no_grad():
            assert kernels.explain(layer, ids).reason == chosen[0].reason


_FRESH = """
import sys, torch, memcom
from memcom import kernels
layer = memcom.QREmbedding(1000, 8, num_collisions=4)
few, many = torch.arange(10), torch.arange(600)
print(kernels.explain(layer, few).name, kernels.explain(layer).name, "numba" in sys.modules)
layer(few), print("numba" in sys.modules)
layer(many), print("numba" in sys.modules, kernels.explain(layer, few).name)
"""


@needs_numba
def test_kernels_are_loaded_for_a_lookup_that_is_worth_it():
    command = [sys.executable, "-c", _FRESH]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["plain", "compiled", "False", "False", "True", "compiled"]


def test_a_graph_needs_no_triton_kernel(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert "torch.compile fuses" in backend._unsupported_in_graph(False, ANY_GPU)


@pytest.fixture
def working(monkeypatch):
    monkeypatch.setattr(gpu, "HAVE_TRITON", True)
    monkeypatch.setattr(gpu, "triton_error", lambda device: "")


@pytest.mark.usefixtures("working")
def test_deterministic_gradients_are_not_summed_by_atomic_operations():
    assert gpu.unsupported_on_gpu(ANY_GPU, sparse=False) == ""
    torch.use_deterministic_algorithms(True)
    try:
        assert "deterministic" in gpu.unsupported_on_gpu(ANY_GPU, sparse=False)
        assert gpu.unsupported_on_gpu(ANY_GPU, sparse=True) == ""
        with torch.no_grad():
            assert gpu.unsupported_on_gpu(ANY_GPU, sparse=False) == ""
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("working")
def test_without_triton(monkeypatch):
    monkeypatch.setattr(gpu, "HAVE_TRITON", False)
    assert "triton" in gpu.unsupported_on_gpu(ANY_GPU, sparse=True)


def test_tritons_error_is_the_reason():
    why = gpu.triton_error.__wrapped__(torch.device("cuda", 99))
    assert why.startswith("triton does not work here: ")
    assert "\n" not in why


def test_any_reading_is_left_to_triton_on_a_gpu():
    for layer, name, why in [
        (make("jagged"), "triton", "rows on cuda:0, without gradients"),
        (make("robe", e=64), "triton", "rows on cuda:0"),  # its chunks are one line
        (
            memcom.MixedDimEmbedding(3000, 16, base_dim=8, num_blocks=12, growth=1.5),
            "plain",
            "too long to compile",
        ),
    ]:
        found = backend._compiled(layer, cached_program(layer), ANY_GPU)
        assert found.name == name
        assert why in found.reason
    assert "on cpu, not on cuda:0" in cached_program(make("jagged"), ANY_GPU).unsupported
    assembly = assemble(make("jagged", device="meta").reading(), 501, device=torch.device("meta"))
    assert "left to torch" in assembly.without_gradients


@needs_numba
@pytest.mark.slow
def test_compiled_graphs_keep_the_lookup_as_one_operator():
    layer = make("qr")
    ids = some_ids(50)
    torch._dynamo.reset()
    seen = []

    def record(graph, _inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    compiled = torch.compile(layer, fullgraph=True, backend=record)
    torch.testing.assert_close(compiled(ids), layer(ids))
    assert any("memcom.lookup" in name for name in seen)
    program = torch.export.export(layer, (ids,))
    assert "memcom.lookup" not in str(program.graph)
    plan = layout(layer.recipe())
    code = [field for entry in plan.code for field in entry]
    torch.library.opcheck(operator.lookup, (ids, plan.tables, plan.seeds, code))
