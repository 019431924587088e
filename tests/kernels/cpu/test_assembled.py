"""Gradients of any reading: those of the same vectors by torch in float64, and of plain layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom import kernels, optim
from memcom.addresses import Digit
from memcom.kernels import Mapped, Ragged, Read, Recipe, Run, loading
from memcom.kernels.assembly import assemble
from memcom.kernels.bits import Stored, pack
from tests.embeddings.cases import make, some_ids
from tests.kernels.readings import Doubles, differentiable, readings

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore:.*coalesced:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def loaded():
    assert kernels.warm_up()


def gradients(assembly, ids, upstream, needed, sparse=False):
    reads = loading.load("assembled").Reads(assembly, ids)
    vectors = loading.load("assemble").assembled(assembly, ids)
    assert torch.equal(reads.vectors(), vectors)
    found = reads.gradients(upstream, needed, sparse)
    assert [gradient is not None for gradient in found] == needed
    return found


def floats(assembly):
    return [source.dtype == torch.float32 for source in assembly.sources]


def with_threads(threads, call):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        return call()
    finally:
        torch.set_num_threads(before)


@settings(deadline=None, max_examples=200)
@given(readings(dtypes=[torch.float32]), st.booleans(), st.booleans(), st.integers(0, 300))
def test_any_form_has_the_gradients_of_its_float64_self(drawn, sparse, padded, number):
    reading, count, width, _ = drawn
    padding = 0 if padded else -1
    ids, upstream = torch.randint(count, (number,)), torch.randn(number, width)
    assembly, doubles = assemble(reading, count, 0 if padded else None), Doubles()
    needed = floats(assembly)
    if number:
        vectors = differentiable(reading, ids.numpy(), doubles)
        loss = (vectors * upstream * (ids != padding).unsqueeze(1)).sum()
        if loss.requires_grad:  # not where no row stores a number
            loss.backward()
    found = gradients(assembly, ids, upstream, needed, sparse)
    for source, gradient in zip(assembly.sources, found, strict=True):
        if gradient is None:
            continue
        double = doubles.of(source)
        want = torch.zeros_like(double) if double.grad is None else double.grad
        assert gradient.shape == source.shape
        if gradient.is_sparse:
            assert gradient.is_coalesced()
            assert (gradient.indices()[0].diff() > 0).all()
        got = gradient.to_dense().double()
        # A sum of many terms that cancel is rounded like the terms, not like the sum.
        scale = want.abs().max() + 1e-3 * number + 1e-30
        np.testing.assert_allclose(got / scale, want / scale, atol=2e-5)


@settings(deadline=None, max_examples=40)
@given(readings(dtypes=[torch.float32]), st.booleans())
def test_threads_and_kinds_of_ids_change_nothing(drawn, sparse):
    reading, count, width, _ = drawn
    assembly = assemble(reading, count)
    ids = torch.randint(count, (1 + 2**16 // width, 2))
    upstream = torch.randn(*ids.shape, width)
    needed = floats(assembly)
    one = with_threads(1, lambda: gradients(assembly, ids, upstream, needed, sparse))
    for threads in (2, 3, 7):
        many = with_threads(
            threads, lambda: gradients(assembly, ids.int(), upstream, needed, sparse)
        )
        for a, b in zip(one, many, strict=True):
            assert a is None or torch.equal(a.to_dense(), b.to_dense())


TRAINED = [
    *("robe", "robe(signs=True)", "lma", "cce", "csr", "jagged", "mixed-dim", "low-rank", "lhf"),
    *("small-dim", "hash-embedding(append=True)", "memcom(head=20)", "qr(head=30)"),
    *("memcom-bias(head=20)", "hash-embedding(head=20)", "mixed-radix(head=20)"),
]


def forward_and_gradients(layer, ids):
    vectors = layer(ids)
    upstream = torch.linspace(-1, 1, max(1, vectors.numel()))[: vectors.numel()]
    tables = [table for table in layer.parameters() if table.requires_grad]
    return [vectors, *torch.autograd.grad(vectors, tables, upstream.view_as(vectors))]


def assert_same(got, want):
    for a, b in zip(got, want, strict=True):
        assert a.is_sparse == b.is_sparse
        torch.testing.assert_close(a.to_dense(), b.to_dense(), rtol=1e-4, atol=1e-4)


def plainly(call):
    with kernels.plain():
        return call()


@pytest.mark.parametrize("spec", TRAINED)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("padding_idx", [None, 5])
def test_every_layer_equals_its_plain_self(spec, sparse, padding_idx):
    layer = make(spec, n=3001, sparse=sparse, padding_idx=padding_idx)
    for shape in ((0,), (), (7,), (40, 50)):
        ids = some_ids(*shape, n=3001)
        assert kernels.explain(layer, ids).name == "compiled"
        got = forward_and_gradients(layer, ids)
        assert_same(got, plainly(lambda ids=ids: forward_and_gradients(layer, ids)))


@pytest.mark.parametrize("spec", TRAINED)
def test_some_tables_alone(spec):
    layer, ids = make(spec), some_ids(600)
    for table in list(layer.parameters())[1:]:
        table.requires_grad_(False)
    assert_same(
        forward_and_gradients(layer, ids), plainly(lambda: forward_and_gradients(layer, ids))
    )
    for table in layer.parameters():
        table.requires_grad_(False)
    assert kernels.explain(layer).name == "compiled"
    assert not layer(ids).requires_grad


def test_tables_beside_packed_ones_have_gradients():
    layer, ids = memcom.quantize(make("memcom(head=20)"), 8), some_ids(600)
    assert kernels.explain(layer).name == "compiled"
    got = forward_and_gradients(layer, ids)
    assert len(got) > 1
    assert_same(got, plainly(lambda: forward_and_gradients(layer, ids)))


@pytest.mark.parametrize("spec", ["robe", "cce", "mixed-dim", "memcom(head=20)", "csr"])
@pytest.mark.parametrize("rule", [optim.SGD, optim.RowwiseAdagrad, optim.LazyAdam])
def test_steps_are_those_of_the_plain_layer(spec, rule):
    def trained():
        layer = make(spec, sparse=True)
        optimizer = rule(layer.parameters(), lr=0.001)
        for k in range(3):
            optimizer.zero_grad()
            layer(some_ids(600 + k)).square().sum().backward()
            optimizer.step()
        return [table.detach() for table in layer.parameters()]

    assert_same(trained(), plainly(trained))


def test_a_table_that_two_lines_read_differently():
    table = torch.randn(50, 1, requires_grad=True)
    reading = Recipe(
        (Run("t", table, Digit(50), 4), Read("t", table, Digit(40, 3))),
        "mult",
        shift=Read("t", table, Digit(9)),
    )
    assembly, doubles = assemble(reading, 200), Doubles()
    ids, upstream = torch.randint(200, (300,)), torch.randn(300, 4)
    (differentiable(reading, ids.numpy(), doubles) * upstream).sum().backward()
    for sparse in (False, True):
        (found,) = gradients(assembly, ids, upstream, [True], sparse)
        want = doubles.of(table).grad.float()
        torch.testing.assert_close(found.to_dense(), want, rtol=1e-4, atol=1e-4)


def test_marks_of_a_large_array():
    """Rows of many pages of marks, most of them without one."""
    table = torch.randn(300_000, 1, requires_grad=True)
    reading = Recipe((Run("t", table, Digit(300_000), 70), Run("t", table, Digit(300_000, 7), 9)))
    reading = reading._replace(fusion="concat")
    ids = torch.tensor([0, 3, 299_999, 299_940, 150_000, 150_001, 8191, 4096, 64, 3] * 100)
    upstream = torch.randn(len(ids), 79)
    assembly, doubles = assemble(reading, 300_000), Doubles()
    (differentiable(reading, ids.numpy(), doubles) * upstream).sum().backward()
    want = doubles.of(table).grad
    for threads in (1, 2, 5, 16):
        (found,) = with_threads(
            threads, lambda: gradients(assembly, ids, upstream, [True], sparse=True)
        )
        assert torch.equal(found.indices()[0], want[:, 0].nonzero()[:, 0])
        torch.testing.assert_close(found.to_dense().double(), want, rtol=1e-4, atol=1e-4)


# --- torch's rules --------------------------------------------------------------------------------


def test_second_derivatives_and_gradients_in_batches_are_those_of_the_plain_lookup():
    layer, ids = make("memcom(head=20)"), some_ids(50)
    tables = list(layer.parameters())

    def penalty():
        (g,) = torch.autograd.grad(layer(ids).pow(3).sum(), tables[:1], create_graph=True)
        return torch.autograd.grad(g.square().sum(), tables, allow_unused=True)

    def several():
        upstream = torch.linspace(-1, 1, 3 * 50 * 16).view(3, 50, 16)
        return torch.autograd.grad(layer(ids), tables, upstream, is_grads_batched=True)

    for call in (penalty, several):
        for a, b in zip(call(), plainly(call), strict=True):
            assert (a is None) == (b is None)
            torch.testing.assert_close(0 if a is None else a, 0 if b is None else b)


def test_changes_between_the_passes_are_refused():
    layer, ids = make("cce"), some_ids(600)
    for changed in (layer.centres, layer.map, ids):
        vectors = layer(ids)
        with torch.no_grad():
            changed[:1] = changed[:1]
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            vectors.sum().backward()
    wanted = torch.autograd.grad(layer(ids).sum(), list(layer.parameters()))
    vectors = layer(ids)
    ids.numpy()[7] = 2**40  # unseen by torch; the rows have been found
    assert_same(torch.autograd.grad(vectors.sum(), list(layer.parameters())), wanted)


def test_a_map_that_is_damaged_between_the_passes_is_never_followed():
    table = torch.randn(5, 4)
    maps = [pack(torch.tensor(rows), 3) for rows in ([0, 1, 2, 3], [0, 1, 3, 4])]
    for reading, is_read_again in (
        (Recipe((Read("t", table, Stored(maps[0], 3)),)), False),
        (Mapped(Stored(maps[0], 3), Recipe((Read("t", table, Digit(5)),)), 5), True),
        (Ragged(table, Stored(maps[1], 3), None, 9), True),
        (Ragged(table, Stored(maps[1], 3), Stored(torch.zeros(1).byte(), 1), 4), True),
    ):
        assembly, ids = assemble(reading, 3), torch.arange(3)
        upstream, needed = torch.randn(3, assembly.width), floats(assembly)
        wanted = gradients(assembly, ids, upstream, needed)
        for source in assembly.sources:
            if source.dtype != torch.uint8:
                continue
            kept = source.clone()
            reads = loading.load("assembled").Reads(assembly, ids)
            reads.vectors()
            source.numpy()[:] = 255
            if is_read_again:
                with pytest.raises(RuntimeError, match="points outside a table"):
                    reads.gradients(upstream, needed, sparse=False)
            else:
                found = reads.gradients(upstream, needed, sparse=False)
                k = needed.index(True)
                assert torch.equal(found[k], wanted[k])
            assert reads.vectors() is None
            source.copy_(kept)


def test_a_table_is_replaced_between_the_passes():
    def run():
        layer = make("robe")
        vectors = layer(some_ids(600))
        layer.memory = torch.nn.Parameter(torch.zeros(1, 1))
        return [vectors, *torch.autograd.grad(vectors.square().sum(), [old(vectors)])]

    def old(vectors):
        function = vectors.grad_fn
        while function is not None and not hasattr(function, "variable"):
            function = next(f for f, _ in function.next_functions if f is not None)
        return function.variable

    assert_same(run(), plainly(run))


def test_hooks_of_tables_are_called():
    layer, seen = make("robe"), []
    layer.memory.register_hook(lambda gradient: seen.append(gradient.shape) or gradient * 2)
    (found,) = torch.autograd.grad(layer(some_ids(600)).sum(), [layer.memory])
    (want,) = plainly(lambda: torch.autograd.grad(layer(some_ids(600)).sum(), [layer.memory]))
    assert seen
    assert_same([found], [want])


def test_gradients_that_only_some_layers_want_sparse_are_left_to_torch():
    layer = make("memcom(head=20)", sparse=True)
    layer.tail.sparse = False
    assert kernels.explain(layer).name == "plain"
    got = forward_and_gradients(layer, some_ids(600))
    assert [gradient.is_sparse for gradient in got[1:]] == [True, False, False]
