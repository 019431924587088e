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
from tests.embeddings.cases import (
    EMBEDDING_DIM,
    NUM_EMBEDDINGS,
    SPECS,
    UNSHRUNK,
    make,
    some_ids,
)

every_layer = pytest.mark.parametrize("spec", SPECS)
every_name = pytest.mark.parametrize("name", memcom.available())


def trained(layer: nn.Module) -> list[nn.Parameter]:
    return [p for p in layer.parameters() if p.requires_grad]


@every_layer
@pytest.mark.parametrize("shape", [(), (5,), (0,), (3, 4), (2, 0), (2, 3, 4), (2, 1, 3, 2)])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_of_any_shape_and_either_integer_type(spec, shape, dtype):
    layer = make(spec)
    ids = some_ids(*shape, dtype=dtype)
    vectors = layer(ids)
    assert vectors.shape == (*shape, EMBEDDING_DIM)
    one_by_one = [layer(i) for i in ids.view(-1)]
    if one_by_one:
        torch.testing.assert_close(vectors.view(-1, EMBEDDING_DIM), torch.stack(one_by_one))


@every_layer
@pytest.mark.parametrize("bad", [-1, NUM_EMBEDDINGS, NUM_EMBEDDINGS + 10**9])
def test_a_bad_id_is_named_with_the_valid_range(spec, bad):
    ids = some_ids(3, 4)
    ids[1, 2] = bad
    layer = make(spec)
    for call in (layer, layer.addresses):
        with pytest.raises(IndexError, match=rf"{bad}\b.*\[0, {NUM_EMBEDDINGS}\)"):
            call(ids)


@every_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.bool])
def test_ids_of_another_type_are_refused(spec, dtype):
    with pytest.raises(TypeError, match="int32 or int64"):
        make(spec)(torch.ones(3, dtype=dtype))


@every_layer
@pytest.mark.parametrize("padding_idx", [0, 7, NUM_EMBEDDINGS - 1, -1])
def test_padding_gives_zeros_and_gets_no_gradient(spec, padding_idx):
    layer, plain = make(spec, padding_idx=padding_idx), make(spec)
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


@every_layer
def test_gradients_agree_with_finite_differences(spec):
    layer = make(spec, n=300, e=16).double()
    ids = some_ids(3, 2, n=300)
    names = [name for name, p in layer.named_parameters() if p.requires_grad]
    if not names:
        pytest.skip("nothing in this layer is trained")
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
    if not trained(dense):
        pytest.skip("nothing in this layer is trained")
    for layer in (dense, sparse):
        layer(ids).square().sum().backward()
    for a, b in zip(trained(dense), trained(sparse), strict=True):
        assert a.grad.layout == torch.strided
        torch.testing.assert_close(a.grad, b.grad.to_dense())


@every_layer
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_bag_pools_composed_rows(spec, mode):
    layer = make(spec)
    ids = some_ids(9)
    offsets = torch.tensor([0, 4, 4, 5])
    pooled = memcom.EmbeddingBag(layer, mode)(ids, offsets)
    rows = layer(ids)
    for bag, part in zip(pooled, rows.tensor_split([4, 4, 5]), strict=True):
        expected = torch.zeros(EMBEDDING_DIM) if not len(part) else getattr(part, mode)(0)
        expected = expected.values if mode == "max" and len(part) else expected
        torch.testing.assert_close(bag, expected)


@every_layer
def test_nbytes_is_what_a_saved_file_holds(spec, tmp_path):
    layer = make(spec)
    path = tmp_path / "layer.safetensors"
    save_file(layer.state_dict(), path)
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert layer.nbytes == path.stat().st_size - header
    full = 4 * NUM_EMBEDDINGS * EMBEDDING_DIM
    assert layer.compression_ratio == full / layer.nbytes


@every_layer
def test_saved_loaded_copied_and_pickled_layers_are_equal(spec, tmp_path):
    layer = make(spec)
    with torch.no_grad():
        for p in layer.parameters():
            if p.is_floating_point():
                p.add_(torch.rand_like(p))
    expected = layer(some_ids(20))
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    loaded = make(spec)
    loaded.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    for other in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(some_ids(20)), expected)


@every_layer
def test_the_meta_device_holds_shapes_only(spec):
    layer = make(spec, device="meta")
    real = make(spec)
    assert layer.nbytes == real.nbytes
    assert layer(some_ids(3, 2).to("meta")).shape == (3, 2, EMBEDDING_DIM)
    layer = layer.to_empty(device="cpu")
    torch.manual_seed(0)
    layer.reset_parameters()
    for name, tensor in real.state_dict().items():
        assert torch.equal(layer.state_dict()[name], tensor), name


@every_layer
def test_bfloat16(spec):
    assert make(spec, dtype=torch.bfloat16)(some_ids(8)).dtype == torch.bfloat16
    layer, reference = make(spec).to(torch.bfloat16), make(spec)
    vectors = layer(some_ids(8))
    torch.testing.assert_close(vectors.float(), reference(some_ids(8)), rtol=0.05, atol=0.1)


@every_layer
def test_materialize_is_the_table_the_layer_stands_for(spec):
    layer = make(spec, padding_idx=3)
    table = layer.materialize(chunk_size=100)
    assert table.shape == (NUM_EMBEDDINGS, EMBEDDING_DIM)
    assert not table.requires_grad
    torch.testing.assert_close(table, layer(torch.arange(NUM_EMBEDDINGS)).detach())


@every_layer
def test_addresses_are_rows_of_the_named_tables(spec):
    layer = make(spec)
    ids = some_ids(3, 4)
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
    squares = []
    for seed in range(20):
        name, options = memcom.parse_spec(spec)
        torch.manual_seed(seed)
        layer = memcom.build(
            name, 2000, 32, ratio=None if name in UNSHRUNK else 3, **options
        ).eval()
        squares.append(layer.materialize().square().mean())
    assert torch.stack(squares).mean() == pytest.approx(1.0, rel=0.15)


@every_layer
def test_reset_parameters_scales_the_composed_row(spec):
    layer = make(spec)
    if not trained(layer):
        pytest.skip("nothing in this layer is trained")
    torch.manual_seed(3)
    layer.reset_parameters()
    one = layer.materialize().square().mean()
    torch.manual_seed(3)
    layer.reset_parameters(std=0.1)
    assert layer.materialize().square().mean() == pytest.approx(0.01 * one.item(), rel=0.02)


@every_layer
def test_construction_order_does_not_matter(spec):
    first = make(spec)
    make("hash(seed=5)"), make("double-hash"), make(spec)
    again = make(spec)
    for name, tensor in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


@every_layer
def test_compiles_as_one_graph(spec):
    layer = make(spec, padding_idx=3)
    ids = some_ids(6, 2)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(ids), layer(ids))
    if trained(layer):
        parameters = trained(layer)
        got = torch.autograd.grad(compiled(ids).square().sum(), parameters)
        want = torch.autograd.grad(layer(ids).square().sum(), parameters)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)


@every_layer
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


@every_name
@pytest.mark.parametrize("dim", [16, 64, 256])
@pytest.mark.parametrize("ratio", [2, 5, 16, 64])
def test_a_plan_never_exceeds_its_budget(name, dim, ratio):
    n = 3000
    try:
        plan = memcom.plan(name, n, dim, ratio=ratio)
    except memcom.BudgetError:
        return  # what the message says is tested in tests/test_budget.py
    assert plan.nbytes <= 4 * n * dim / ratio
    assert plan.build(device="meta").frozen_nbytes == plan.nbytes


@every_name
def test_the_signature_is_narrow_and_in_the_house_order(name):
    parameters = list(inspect.signature(memcom.get(name)).parameters.values())
    assert [p.name for p in parameters[:2]] == ["num_embeddings", "embedding_dim"]
    own = [p for p in parameters[2:] if p.kind is p.KEYWORD_ONLY]
    assert len(own) <= 5
    assert [p.kind for p in parameters[2:] if p not in own] == [inspect.Parameter.VAR_KEYWORD]


@every_name
@pytest.mark.parametrize(("n", "e"), [(0, 4), (-3, 4), (4, 0), (2**40 + 1, 4)])
def test_senseless_sizes_are_refused(name, n, e):
    with pytest.raises(ValueError, match=r"(num_embeddings|embedding_dim) must be"):
        memcom.FullEmbedding(n, e, device="meta")
    with pytest.raises(ValueError, match="padding_idx must be"):
        make(name, padding_idx=NUM_EMBEDDINGS)
