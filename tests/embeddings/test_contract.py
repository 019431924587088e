"""One suite over every compressor: what a caller may rely on."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.func import functional_call

import memcom
from tests.embeddings.cases import COSTLY, EMBEDDING_DIM, NUM_EMBEDDINGS, SPECS, make, some_ids

every_layer = pytest.mark.parametrize("spec", SPECS)
costly = pytest.mark.parametrize("spec", COSTLY)
every_name = pytest.mark.parametrize("name", memcom.available())

SHAPES = [(), (5,), (0,), (3, 4), (2, 0), (2, 3, 4), (2, 1, 3, 2)]


def trained(layer: nn.Module) -> list[nn.Parameter]:
    """What gets a gradient: the codewords that will replace a table wait for theirs."""
    waiting = "codebook.values"
    return [p for name, p in layer.named_parameters() if p.requires_grad and name != waiting]


# --- ids ------------------------------------------------------------------------------------------


@every_layer
def test_ids_of_any_shape_and_either_integer_type(spec):
    layer = make(spec)
    table = layer(torch.arange(NUM_EMBEDDINGS))
    for dtype in (torch.int32, torch.int64):
        for shape in SHAPES:
            ids = some_ids(*shape, dtype=dtype)
            vectors = layer(ids)
            assert vectors.shape == (*shape, EMBEDDING_DIM)
            torch.testing.assert_close(vectors, table[ids.long()], msg=f"{dtype}, {shape}")


@every_layer
def test_bad_ids_are_refused_with_the_valid_range(spec):
    layer = make(spec)
    for bad in (-1, NUM_EMBEDDINGS, NUM_EMBEDDINGS + 10**9):
        ids = some_ids(3, 4)
        ids[1, 2] = bad
        for call in (layer, layer.addresses):
            with pytest.raises(IndexError, match=rf"{bad}\b.*\[0, {NUM_EMBEDDINGS}\)"):
                call(ids)
    for dtype in (torch.float32, torch.int16, torch.bool):
        with pytest.raises(TypeError, match="int32 or int64"):
            layer(torch.ones(3, dtype=dtype))


@every_layer
def test_padding_gives_zeros_and_gets_no_gradient(spec):
    plain = make(spec)
    for padding_idx in (0, 7, NUM_EMBEDDINGS - 1, -1):
        layer = make(spec, padding_idx=padding_idx)
        plain.load_state_dict(layer.state_dict())
        pad = padding_idx % NUM_EMBEDDINGS
        assert layer.padding_idx == pad
        ids = some_ids(40)
        ids[::5] = pad
        vectors, kept = layer(ids), ids != pad
        assert torch.equal(vectors[~kept], torch.zeros(int((~kept).sum()), EMBEDDING_DIM))
        torch.testing.assert_close(vectors[kept], plain(ids[kept]))
        if trained(layer):
            gradients = torch.autograd.grad(vectors.square().sum(), trained(layer))
            expected = torch.autograd.grad(plain(ids[kept]).square().sum(), trained(plain))
            for got, want in zip(gradients, expected, strict=True):
                torch.testing.assert_close(got, want)
    with pytest.raises(ValueError, match=rf"padding_idx must be .* got {NUM_EMBEDDINGS}"):
        make(spec, padding_idx=NUM_EMBEDDINGS)


# --- gradients ------------------------------------------------------------------------------------


@costly
def test_gradients_agree_with_finite_differences(spec):
    layer = make(spec, n=300).double()
    ids = some_ids(3, 2, n=300)
    names = [n for n, p in layer.named_parameters() if any(p is each for each in trained(layer))]
    if spec.split("(")[0] in ("dpq", "mgqe", "amtl"):
        pytest.skip("passes gradients straight through a choice; by hand in their own tests")
    values = [layer.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def vectors(*parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (ids,))

    assert torch.autograd.gradcheck(vectors, values)


@every_layer
def test_sparse_gradients_equal_dense_ones(spec):
    dense, sparse = make(spec), make(spec, sparse=True)
    ids = some_ids(6, 5)
    for layer in (dense, sparse):
        layer(ids).square().sum().backward()
    for a, b in zip(trained(dense), trained(sparse), strict=True):
        assert a.grad.layout == torch.strided
        torch.testing.assert_close(a.grad, b.grad.to_dense())


@every_layer
def test_a_bag_pools_composed_rows(spec):
    layer, ids = make(spec), some_ids(9)
    rows = layer(ids)
    for mode in ("sum", "mean", "max"):
        pooled = memcom.EmbeddingBag(layer, mode)(ids, torch.tensor([0, 4, 4, 5]))
        for bag, part in zip(pooled, rows.tensor_split([4, 4, 5]), strict=True):
            expected = torch.zeros(EMBEDDING_DIM) if not len(part) else getattr(part, mode)(0)
            expected = expected.values if mode == "max" and len(part) else expected
            torch.testing.assert_close(bag, expected)


# --- state ----------------------------------------------------------------------------------------


@every_layer
def test_what_is_saved_loaded_copied_and_pickled_is_equal_and_nbytes_counts_it(spec, tmp_path):
    layer, path = make(spec), tmp_path / "layer.safetensors"
    with torch.no_grad():
        for p in layer.parameters():
            if p.is_floating_point():
                p.add_(torch.rand_like(p))
    expected = layer(some_ids(20))
    save_file(layer.state_dict(), path)
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert layer.nbytes == path.stat().st_size - header
    assert layer.compression_ratio == 4 * NUM_EMBEDDINGS * EMBEDDING_DIM / layer.nbytes
    loaded = make(spec)
    loaded.load_state_dict(load_file(path))
    for other in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(some_ids(20)), expected)


@every_layer
def test_the_meta_device_holds_shapes_only(spec):
    layer, real = make(spec, device="meta"), make(spec)
    assert layer.nbytes == real.nbytes
    assert layer(some_ids(3, 2).to("meta")).shape == (3, 2, EMBEDDING_DIM)
    layer = layer.to_empty(device="cpu")
    torch.manual_seed(0)
    layer.reset_parameters()
    for name, tensor in real.state_dict().items():
        assert torch.equal(layer.state_dict()[name], tensor), name


@every_layer
def test_construction_order_does_not_matter(spec):
    first = make(spec)
    make("hash(seed=5)"), make("double-hash"), make(spec)
    again = make(spec)
    for name, tensor in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


@every_layer
def test_bfloat16(spec):
    assert make(spec, dtype=torch.bfloat16)(some_ids(8)).dtype == torch.bfloat16
    layer, reference = make(spec).to(torch.bfloat16), make(spec)
    vectors = layer(some_ids(8))
    torch.testing.assert_close(vectors.float(), reference(some_ids(8)), rtol=0.05, atol=0.1)


# --- the table it stands for ----------------------------------------------------------------------


@every_layer
def test_materialize_is_the_table_the_layer_stands_for(spec):
    layer = make(spec, padding_idx=3)
    table = layer.materialize(chunk_size=100)
    assert table.shape == (NUM_EMBEDDINGS, EMBEDDING_DIM)
    assert not table.requires_grad
    torch.testing.assert_close(table, layer(torch.arange(NUM_EMBEDDINGS)).detach())


@every_layer
def test_addresses_are_rows_of_the_named_tables(spec):
    layer, ids = make(spec), some_ids(3, 4)
    state = layer.state_dict()
    for name, rows in layer.addresses(ids).items():
        assert rows.dtype == torch.int64
        assert rows.shape[:2] == (3, 4)
        assert rows.ndim in (2, 3)
        assert rows.min() >= 0
        if name in state:
            assert rows.max() < state[name].shape[0]


@every_layer
def test_same_addresses_mean_same_vector(spec):
    layer = make(spec)
    ids = torch.arange(NUM_EMBEDDINGS)
    codes = torch.cat([a.reshape(NUM_EMBEDDINGS, -1) for a in layer.addresses(ids).values()], 1)
    _, group = codes.unique(dim=0, return_inverse=True)
    vectors = layer(ids)
    first = torch.full((int(group.max()) + 1,), NUM_EMBEDDINGS)
    first = first.scatter_reduce(0, group, ids, "amin")
    torch.testing.assert_close(vectors, vectors[first[group]])


@every_layer
def test_a_composed_row_has_the_variance_of_a_full_table(spec):
    layers = (make(spec, n=2000, e=32, ratio=3, seed=seed) for seed in range(20))
    squares = [layer.materialize().square().mean() for layer in layers]
    assert torch.stack(squares).mean() == pytest.approx(1.0, rel=0.15)


@every_layer
def test_reset_parameters_scales_the_composed_row(spec):
    layer = make(spec)
    torch.manual_seed(3)
    layer.reset_parameters()
    one = layer.materialize().square().mean()
    torch.manual_seed(3)
    layer.reset_parameters(std=0.1)
    assert layer.materialize().square().mean() == pytest.approx(0.01 * one.item(), rel=0.02)


# --- graphs ---------------------------------------------------------------------------------------


@costly
def test_compiles_as_one_graph(spec):
    layer = make(spec, padding_idx=3)
    ids = some_ids(6, 2)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(ids), layer(ids))
    parameters = trained(layer)
    got = torch.autograd.grad(compiled(ids).square().sum(), parameters)
    want = torch.autograd.grad(layer(ids).square().sum(), parameters)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


@costly
def test_exports_with_its_id_check(spec):
    layer = make(spec, padding_idx=3)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(layer, (some_ids(6, 2),), dynamic_shapes=({0: batch},)).module()
    ids = some_ids(11, 2)
    torch.testing.assert_close(program(ids), layer(ids))
    ids[0, 0] = NUM_EMBEDDINGS
    with pytest.raises(Exception, match=r"out of range|outside|Assertion"):
        program(ids)


@every_layer
@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_runs_under_onnxruntime(spec, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    layer = make(spec, padding_idx=3)
    path = tmp_path / "layer.onnx"
    program = torch.onnx.export(layer, (some_ids(6, 2),), dynamo=True, verbose=False)
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    (vectors,) = session.run(None, {session.get_inputs()[0].name: some_ids(6, 2).numpy()})
    torch.testing.assert_close(torch.from_numpy(vectors), layer(some_ids(6, 2)).detach())


# --- classes --------------------------------------------------------------------------------------


@every_name
def test_a_plan_never_exceeds_its_budget(name):
    n = 3000
    for dim in (16, 64, 256):
        for ratio in (2, 5, 16, 64):
            try:
                plan = memcom.plan(name, n, dim, ratio=ratio)
            except memcom.BudgetError:
                continue  # what the message says is tested in tests/test_budget.py
            assert plan.nbytes <= 4 * n * dim / ratio
            assert plan.build(device="meta").frozen_nbytes == plan.nbytes


@every_name
def test_the_signature_is_narrow_and_in_the_house_order(name):
    cls = memcom.get(name)
    parameters = list(inspect.signature(cls).parameters.values())
    assert [p.name for p in parameters[:2]] == ["num_embeddings", "embedding_dim"]
    named = [p for p in parameters[2:] if p.kind is p.KEYWORD_ONLY]
    inherited = inspect.signature(cls.__bases__[0]).parameters
    assert len([p for p in named if p.name not in inherited]) <= 5
    assert [p.kind for p in parameters[2:] if p not in named] == [inspect.Parameter.VAR_KEYWORD]


@pytest.mark.parametrize(("n", "e"), [(0, 4), (-3, 4), (4, 0), (2**40 + 1, 4)])
def test_senseless_sizes_are_refused(n, e):
    with pytest.raises(ValueError, match=r"(num_embeddings|embedding_dim) must be"):
        memcom.FullEmbedding(n, e, device="meta")
