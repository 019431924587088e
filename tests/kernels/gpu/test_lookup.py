"""The lookup in Triton against the plain one: on a GPU if there is one, else interpreted."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom import kernels
from memcom.kernels.program import bind_for_gpu, layout, unsupported_reason
from tests.embeddings.cases import SPECS, make, some_ids
from tests.kernels.gpu.running import DEVICE, GPU, interpreted, needs_gpu
from tests.kernels.recipes import recipes, tables_of

with interpreted():
    pytest.importorskip("triton", reason="triton is not installed; it comes with torch for CUDA")
    from memcom.kernels.gpu import lookup


@pytest.fixture(autouse=True, scope="module")
def running_interpreted():
    with interpreted():
        yield


def is_recipe(spec):
    layer = make(spec, device="meta")
    return hasattr(layer, "recipe") and not unsupported_reason(layer.recipe(), layer.device)


LAYERS = [spec for spec in SPECS if is_recipe(spec)]


def by_triton(ids, recipe, *, limit=2**40, padding=None, sparse=False):
    """The lookup in blocks so small that few ids fill some, and rows take several stretches."""
    program = bind_for_gpu(layout(recipe, limit, padding))._replace(block=8, columns=8)
    return lookup.lookup_on_gpu(program, recipe, sparse, ids)


def with_gradients(vectors, tables):
    """The vectors, and the gradients of a sum that weighs each number differently; in float32."""
    upstream = torch.linspace(-1, 1, max(1, vectors.numel()), device=vectors.device)
    upstream = upstream[: vectors.numel()].view_as(vectors).bfloat16().to(vectors.dtype)
    found = torch.autograd.grad(vectors, tables, upstream) if tables else []
    dense = [g.to_dense().float() if g.is_sparse else g.float() for g in found]
    return [vectors.detach().float(), *dense]


def assert_same(got, want, dtype=torch.float32):
    for a, b in zip(got, want, strict=True):
        rtol = 1e-4 if dtype is torch.float32 else 2.0**-7  # the interpreter cuts bits off
        torch.testing.assert_close(a, b, rtol=rtol, atol=1e-4)


@pytest.mark.parametrize("spec", LAYERS)
@pytest.mark.parametrize(
    ("dtype", "integer", "sparse"),
    [
        (torch.float32, torch.int64, False),
        (torch.float32, torch.int32, True),
        (torch.bfloat16, torch.int32, False),
    ],
)
def test_every_layer_equals_its_plain_self(spec, dtype, integer, sparse):
    layer = make(spec, dtype=dtype, device=DEVICE)
    ids = some_ids(20, dtype=integer).to(DEVICE)
    ids[3], ids[11] = 7, 7
    tables = tables_of(layer.recipe())
    got = by_triton(ids, layer.recipe(), limit=layer.num_embeddings, padding=7, sparse=sparse)
    assert got.dtype is dtype
    got = with_gradients(got, tables)
    layer = layer.float()  # the plain lookup rounds after each step, the kernels at the end
    want = kernels.plain_lookup(ids.long(), layer.recipe())
    want = want.masked_fill((ids == 7).unsqueeze(-1), 0)
    assert_same(got, with_gradients(want, tables_of(layer.recipe())), dtype)


@settings(max_examples=30, deadline=None)
@given(recipes(), st.integers(0, 20), st.sampled_from([10, 1000, 2**40]), st.booleans())
def test_any_recipe_equals_its_plain_form(recipe, count, limit, sparse):
    recipe = moved(recipe)
    ids = torch.randint(limit, (count,), device=DEVICE)
    got = with_gradients(by_triton(ids, recipe, sparse=sparse), tables_of(recipe))
    want = with_gradients(kernels.plain_lookup(ids, recipe), tables_of(recipe))
    assert_same(got, want)


def moved(recipe):
    """The recipe with its tensors on the device under test; tables read twice stay one."""
    there = {}

    def move(tensor):
        if tensor is not None and id(tensor) not in there:
            copy = tensor.detach().to(DEVICE)
            there[id(tensor)] = copy.requires_grad_(tensor.requires_grad)
        return tensor if tensor is None else there[id(tensor)]

    def move_read(read):
        if read is None:
            return None
        address = read.address
        if hasattr(address, "seed"):
            address = address._replace(seed=move(address.seed))
        return read._replace(table=move(read.table), address=address)

    reads = tuple(move_read(read) for read in recipe.reads)
    return kernels.Recipe(reads, recipe.fusion, move_read(recipe.shift), move_read(recipe.weights))


@pytest.mark.parametrize("spec", ["memcom-bias", "qr(operation=concat)"])
@pytest.mark.parametrize("shape", [(0,), (), (1,), (2, 3), (2, 3, 2), (0, 4)])
def test_ids_of_any_shape(spec, shape):
    layer = make(spec, device=DEVICE)
    straight = some_ids(*shape).to(DEVICE)
    for ids in (straight, straight.movedim(0, -1) if shape else straight):
        for sparse in (False, True):
            got = by_triton(ids, layer.recipe(), sparse=sparse)
            want = kernels.plain_lookup(ids, layer.recipe())
            assert got.shape == want.shape
            tables = tables_of(layer.recipe())
            assert_same(with_gradients(got, tables), with_gradients(want, tables))


def test_only_the_gradients_that_are_wanted():
    layer = make("memcom-bias", device=DEVICE)
    layer.table.requires_grad_(False)
    ids = some_ids(20).to(DEVICE)
    for sparse in (False, True):
        by_triton(ids, layer.recipe(), sparse=sparse).square().sum().backward()
        assert layer.table.grad is None
        assert layer.multiplier.grad.is_sparse == sparse
        layer.zero_grad()
    with torch.no_grad():
        assert not by_triton(ids, layer.recipe()).requires_grad


def test_sparse_gradients_hold_each_row_once_in_order():
    layer = memcom.MEmComEmbedding(100, 8, num_buckets=10, device=DEVICE)
    ids = torch.randint(100, (40,), device=DEVICE)
    vectors = by_triton(ids, layer.recipe(), sparse=True)
    gradients = torch.autograd.grad(vectors.sum(), [layer.table, layer.multiplier])
    for gradient, rows in zip(gradients, [ids % 10, ids], strict=True):
        assert gradient.is_coalesced()
        assert torch.equal(gradient.indices()[0], rows.unique())


def test_second_derivatives_are_those_of_the_plain_lookup():
    layer = make("memcom-bias", device=DEVICE)
    ids = some_ids(20).to(DEVICE)
    results = []
    for look in (by_triton, kernels.plain_lookup):
        (g,) = torch.autograd.grad(
            look(ids, layer.recipe()).pow(3).sum(), [layer.multiplier], create_graph=True
        )
        results.append(torch.autograd.grad(g.square().sum(), list(layer.parameters())))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.skipif(GPU, reason="on a GPU it is an assertion, which the interpreter leaves out")
@pytest.mark.parametrize("bad", [-1, 501, 2**45])
def test_a_bad_id_reads_nothing(bad):
    layer, ids = make("memcom-bias"), some_ids(20)
    ids[13] = bad
    vectors = by_triton(ids, layer.recipe(), limit=501, padding=500)
    assert not vectors[13].any()
    vectors.sum().backward()
    assert layer.bias.grad.sum() == 18 * vectors.shape[1]  # all but that one and the padding


_BAD_ID = """
import torch, memcom
layer = memcom.MEmComEmbedding(501, 16, num_buckets=50, device="cuda")
print(memcom.kernels.explain(layer))
layer(torch.tensor([3, 501], device="cuda"))
torch.cuda.synchronize()
print("nothing happened")
"""


@needs_gpu
def test_a_bad_id_stops_the_gpu():
    command = [sys.executable, "-c", _BAD_ID]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout.startswith("triton")
    assert "nothing happened" not in run.stdout
    assert "an id is out of range" in run.stderr + run.stdout


@needs_gpu
@pytest.mark.parametrize("spec", LAYERS)
@pytest.mark.parametrize("sparse", [False, True])
def test_layers_on_a_gpu_use_it(spec, sparse):
    layer = make(spec, n=3001, device=DEVICE, sparse=sparse, padding_idx=7)
    ids = some_ids(40, 50, n=3001).to(DEVICE)
    assert kernels.explain(layer, ids).name == kernels.explain(layer).name == "triton"
    parameters = [p for p in layer.parameters() if p.requires_grad]
    got = with_gradients(layer(ids), parameters)
    with kernels.plain():
        assert kernels.explain(layer, ids).name == "plain"
        want = with_gradients(layer(ids), parameters)
    assert_same(got, want)


@needs_gpu
def test_on_a_gpu_plain_where_it_must_be():
    layer, ids = make("memcom", device=DEVICE), some_ids(1000).to(DEVICE)
    assert "float64" in str(kernels.explain(make("memcom", device=DEVICE).double(), ids))
    assert kernels.explain(layer, ids.cpu()).name == "plain"
    torch.use_deterministic_algorithms(True)
    try:
        assert "deterministic" in str(kernels.explain(layer, ids))
    finally:
        torch.use_deterministic_algorithms(False)
    compiled = torch.compile(layer, fullgraph=True)
    torch.testing.assert_close(compiled(ids), layer(ids))
