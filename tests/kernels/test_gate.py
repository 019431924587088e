"""Nothing becomes an address that a kernel would read wrongly."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path

import pytest
import torch

import memcom
from memcom import kernels, optim
from memcom.kernels import gate

KERNELS = Path(gate.__file__).parent


def test_only_the_gate_takes_addresses_of_tensors():
    for path in KERNELS.rglob("*.py"):
        if path.name != "gate.py":
            assert "data_ptr" not in path.read_text(encoding="utf-8"), path


def test_every_allocation_names_dtype_and_device():
    kinds = {"empty", "zeros", "ones", "full", "arange", "tensor"}
    for path in KERNELS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if ast.unparse(node.func.value) == "torch" and node.func.attr in kinds:
                named = {keyword.arg for keyword in node.keywords}
                assert {"dtype", "device"} <= named, f"{path}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.zeros(2, 3, dtype=torch.float64), "float64"),
        (torch.zeros(2, 3).T, "contiguous"),
        (torch.zeros(2, 3, device="meta"), "meta"),
    ],
)
def test_a_tensor_of_another_kind_is_refused(tensor, why):
    assert why in gate.flaw(tensor, (torch.float32,))
    with pytest.raises(TypeError, match=why):
        gate.address(tensor, torch.float32)


def test_ids_pass_as_a_contiguous_tensor():
    ids = torch.arange(6).view(2, 3).T
    passed, address, size = gate.pass_ids(ids)
    assert torch.equal(passed, ids)
    assert (passed.is_contiguous(), address, size) == (True, passed.data_ptr(), 8)
    assert gate.pass_ids(ids.int())[2] == 4
    with pytest.raises(TypeError, match="int16"):
        gate.pass_ids(ids.short())


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def results(layer, bag, ids, offsets):
    """Vectors, gradients, bags and a step, all of which allocate."""
    vectors, pooled = layer(ids), bag(ids, offsets)
    gradients = torch.autograd.grad(vectors.sum() + pooled.sum(), layer.parameters())
    found = [tensor.detach().to_dense() for tensor in (vectors, pooled, *gradients)]
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    layer(ids).sum().backward()
    optimizer.step()
    return [*found, *(weight.detach() for weight in layer.parameters())]


@pytest.mark.parametrize(
    "context",
    [
        lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.bfloat16),
        lambda: torch.device("meta"),
    ],
    ids=["float64", "bfloat16", "meta"],
)
def test_defaults_of_torch_change_nothing(context):
    pytest.importorskip("numba")
    kernels.warm_up()
    ids, offsets = torch.arange(700) % 50, torch.tensor([0, 3, 3, 600])
    layers = [memcom.MEmComEmbedding(50, 4, num_buckets=7, bias=True, sparse=True) for _ in "ab"]
    layers[1].load_state_dict(layers[0].state_dict())
    bags = [memcom.EmbeddingBag(layer) for layer in layers]
    want = results(layers[0], bags[0], ids, offsets)
    with context():
        got = results(layers[1], bags[1], ids, offsets)
    for a, b in zip(got, want, strict=True):
        assert a.dtype is torch.float32
        assert torch.equal(a, b)


@pytest.mark.parametrize("place", ["table", "gradient", "per_sample_weights"])
def test_lazily_negated_tensors_have_the_plain_paths_values(place):
    """The imaginary part of a conjugated tensor is a float tensor whose sign is applied later."""
    pytest.importorskip("numba")
    kernels.warm_up()
    ids = torch.arange(60) % 50

    def negated(*shape):
        lazy = torch.view_as_complex(torch.randn(*shape, 2)).conj().imag
        assert lazy.is_neg()
        return lazy

    torch.manual_seed(1)
    layer = memcom.MEmComEmbedding(50, 4, num_buckets=7)
    if place == "table":
        layer.table = torch.nn.Parameter(negated(7, 4))
    weights = negated(60) if place == "per_sample_weights" else torch.rand(60)
    upstream = negated(60, 4) if place == "gradient" else torch.rand(60, 4)

    def all_values():
        bag = memcom.EmbeddingBag(layer, "sum")
        vectors = layer(ids)
        pooled = bag(ids.view(6, 10), per_sample_weights=weights.view(6, 10))
        gradients = torch.autograd.grad(vectors, layer.parameters(), upstream)
        return [each.detach() for each in (vectors, pooled, *gradients)]

    got = all_values()
    with kernels.plain():
        want = all_values()
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)
    h, v = layer.table.detach()[ids % 7].resolve_neg(), layer.multiplier.detach()[ids]
    torch.testing.assert_close(got[0], h * v)
