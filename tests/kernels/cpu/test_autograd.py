"""The compiled lookup against the plain one: the same numbers whatever the recipe."""

from __future__ import annotations

import concurrent.futures

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom import kernels
from tests.embeddings.cases import SPECS, make, some_ids
from tests.kernels.recipes import recipes, tables_of

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore:.*coalesced:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def loaded():
    assert kernels.warm_up()


def forward_and_gradients(call, ids, parameters):
    vectors = call(ids)
    upstream = torch.linspace(-1, 1, max(1, vectors.numel()))[: vectors.numel()]
    wanted = torch.autograd.grad(vectors, parameters, upstream.view_as(vectors), allow_unused=True)
    return vectors.detach(), [g.to_dense() if g is not None and g.is_sparse else g for g in wanted]


def assert_same(got, want):
    torch.testing.assert_close(got[0], want[0])
    for a, b in zip(got[1], want[1], strict=True):
        # A row's gradient is a sum over the ids that read it, which may all but cancel.
        atol = 1e-6 * max(10, len(got[0])) + 2e-7 * got[0].numel()
        torch.testing.assert_close(a, b, rtol=1e-4, atol=atol)


def layers(spec, **common):
    layer = make(spec, **common)
    return layer, [p for p in layer.parameters() if p.requires_grad]


RECIPES = [s for s in SPECS if hasattr(memcom.get(memcom.parse_spec(s)[0]), "recipe")]


@pytest.mark.parametrize("spec", [s for s in RECIPES if not s.startswith("int")])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shape", [(0,), (), (7,), (40, 50)])
def test_every_layer_equals_its_plain_self(spec, sparse, shape):
    layer, parameters = layers(spec, n=3001, sparse=sparse)
    for dtype in (torch.int32, torch.int64):
        ids = some_ids(*shape, n=3001, dtype=dtype)
        got = forward_and_gradients(layer, ids, parameters)
        with kernels.plain():
            want = forward_and_gradients(layer, ids, parameters)
        assert_same(got, want)


WHOLE_LAYERS = ["full", "truncate", "hash", "double-hash", "bloom", "qr", "mixed-radix", "crt"]
WHOLE_LAYERS += ["bch(hash=7,strategy=skip)", "memcom", "memcom-bias", "qr(operation=concat)"]


@pytest.mark.parametrize("spec", WHOLE_LAYERS)
@pytest.mark.parametrize("sparse", [False, True])
def test_the_whole_forward_pass_in_one_sweep(spec, sparse):
    layer, parameters = layers(spec, sparse=sparse, padding_idx=7)
    ids = some_ids(60, 20)
    ids[::3, 4] = 7

    backend = kernels.choose(layer, ids)
    assert backend.name == "compiled"
    got = forward_and_gradients(backend.run, ids, parameters)
    with kernels.plain():
        want = forward_and_gradients(layer, ids, parameters)
    assert_same(got, want)


@settings(max_examples=150, deadline=None)
@given(recipes(), st.integers(0, 700), st.sampled_from([10, 1000, 2**40]), st.booleans())
def test_any_recipe_equals_its_plain_form(recipe, count, limit, sparse):
    tables = tables_of(recipe)
    ids = torch.randint(limit, (count,))
    got = forward_and_gradients(lambda i: kernels.lookup(i, recipe, sparse=sparse), ids, tables)
    want = forward_and_gradients(lambda i: kernels.plain_lookup(i, recipe), ids, tables)
    assert_same(got, want)


def test_sparse_gradients_hold_each_row_once_in_order():
    layer = memcom.MEmComEmbedding(1000, 8, num_buckets=50, sparse=True)
    ids = torch.randint(1000, (3000,))
    gradients = torch.autograd.grad(layer(ids).sum(), [layer.table, layer.multiplier])
    for gradient, rows in zip(gradients, [ids % 50, ids], strict=True):
        assert gradient.is_coalesced()
        assert torch.equal(gradient.indices()[0], rows.unique())


def test_the_sum_does_not_depend_on_the_number_of_threads():
    layer = memcom.MEmComEmbedding(1000, 64, num_buckets=50)
    ids = torch.randint(1000, (20_000,))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            vectors = layer(ids)
            results.append(
                [vectors, *torch.autograd.grad(vectors.square().sum(), layer.parameters())]
            )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("size", [5, 30_000])
@pytest.mark.parametrize("bad", [-1, 501, 2**45, -(2**62)])
def test_a_bad_id_is_named(size, bad):
    layer = make("memcom")
    ids = some_ids(size)
    ids[size // 2] = bad
    with pytest.raises(IndexError, match=rf"id {bad} is out of range.*\[0, 501\)"):
        layer(ids)


def test_threads_may_share_a_layer():
    layer = memcom.QREmbedding(5000, 64, num_collisions=8)
    batches = [torch.randint(5000, (3000,)) for _ in range(40)]
    with kernels.plain(), torch.no_grad():
        want = [layer(ids) for ids in batches]

    def work(ids):
        with torch.no_grad():
            return layer(ids)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for a, b in zip(pool.map(work, batches), want, strict=True):
            torch.testing.assert_close(a, b)


def test_second_derivatives_are_those_of_the_plain_lookup():
    layer = make("memcom-bias")
    ids = some_ids(50)

    def penalty():
        (g,) = torch.autograd.grad(layer(ids).pow(3).sum(), [layer.multiplier], create_graph=True)
        return torch.autograd.grad(g.square().sum(), list(layer.parameters()))

    got = penalty()
    with kernels.plain():
        want = penalty()
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("spec", ["memcom-bias", "full"])
def test_sparse_gradients_add_up_from_an_empty_batch_on(spec):
    """torch enlarges the first gradient, in its own memory."""
    layer, twin = make(spec, sparse=True), make(spec)
    for count in (0, 5, 50):
        for each in (layer, twin):
            each(some_ids(count)).sum().backward()
    for a, b in zip(layer.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad.to_dense(), b.grad)
