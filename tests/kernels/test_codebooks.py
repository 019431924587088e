from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom import kernels
from memcom.kernels.backend import WORTH_LOADING

pytest.importorskip("numba")

N = WORTH_LOADING + 1  # not a multiple of the ids that are scored together


def make(groups, book, width, *, nearest=False, sparse=False, limited=True, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def some(*shape):
        return torch.randn(*shape, generator=generator).requires_grad_()

    limits = torch.full((N,), book)
    if limited:
        limits = torch.randint(1, book + 1, (N,), generator=generator)
    queries, values = some(N, groups * width), some(groups * book, width)
    targets = values.detach() if nearest else some(groups * book, width)
    return kernels.CodewordChoice(queries, targets, values, limits, groups, nearest, sparse)


def refuse(*args):
    raise AssertionError("the plain formula is for second derivatives only")


def by_hand(choice, grad):
    """Codes, vectors and gradients in float64, one group at a time, as the paper's formula has."""
    queries, targets, values = (t.detach().double() for t in choice[:3])
    width, groups = values.shape[1], choice.groups
    codes, parts, found = [], [], []
    allowed = torch.arange(len(values) // groups) < choice.limits[:, None]
    for g in range(groups):
        columns, rows = slice(g * width, (g + 1) * width), slice(g * allowed.shape[1], None)
        q = queries[:, columns].clone().requires_grad_()
        t, v = targets[rows][: allowed.shape[1]].clone(), values[rows][: allowed.shape[1]]
        t.requires_grad_()
        scores = -(q[:, None] - t).square().sum(-1) if choice.nearest else q @ t.T
        scores = scores.masked_fill(~allowed, -torch.inf)
        code = scores.argmax(-1)
        codes.append(code)
        parts.append(v[code])
        own = grad[:, columns].double()
        chosen = torch.zeros_like(v).index_add_(0, code, own)
        if choice.nearest:
            found.append((own, torch.zeros_like(t), chosen))
        else:
            ((scores.softmax(-1) @ v) * own).sum().backward()
            found.append((q.grad, t.grad, chosen))
    of_queries, of_targets, of_values = zip(*found, strict=True)
    gradients = torch.cat(of_queries, 1), torch.cat(of_targets), torch.cat(of_values)
    return torch.stack(codes, 1), torch.cat(parts, 1).float(), gradients


def compare(choice, seed=1):
    grad = torch.randn(choice.queries.shape, generator=torch.Generator().manual_seed(seed))
    codes, vectors, gradients = by_hand(choice, grad)
    got = kernels.chosen_codewords(choice, refuse)
    assert torch.equal(kernels.chosen_codes(choice), codes)
    assert torch.equal(got.detach(), vectors)
    wanted = [(t, g) for t, g in zip(choice[:3], gradients, strict=True) if t.requires_grad]
    found = torch.autograd.grad(got, [t for t, _ in wanted], grad)
    for tensor, (_, expected) in zip(found, wanted, strict=True):
        assert tensor.is_sparse == (choice.sparse and tensor is found[-1])
        torch.testing.assert_close(tensor.to_dense(), expected.float(), rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(2, 40), st.integers(1, 9), st.integers(0, 99))
def test_codewords_and_gradients_are_those_of_the_formula(groups, book, width, seed):
    compare(make(groups, book, width, seed=seed))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("limited", [False, True])
def test_both_forms_and_both_kinds_of_gradient(threads, nearest, sparse, limited):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compare(make(4, 32, 4, nearest=nearest, sparse=sparse, limited=limited))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("which", ["queries", "targets"])
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_none_are_not_hidden(which, number):
    choice = make(2, 8, 3, limited=False)
    with torch.no_grad():
        getattr(choice, which)[5, 0] = number
    layer = memcom.DPQEmbedding(N, 6, num_groups=2, num_codewords=8)
    expected = layer._plainly(choice).isnan()
    assert expected.any()
    assert torch.equal(kernels.chosen_codewords(choice, refuse).isnan(), expected)


def test_second_derivatives_and_gradients_in_batches_are_those_of_the_plain_way():
    torch.manual_seed(0)
    layer = memcom.DPQEmbedding(N, 6, num_groups=2, num_codewords=8)
    wanted, ids = [layer.query, layer.keys], torch.arange(N)

    def curvature():
        first = torch.autograd.grad(layer(ids).square().sum(), wanted, create_graph=True)
        return torch.autograd.grad(sum(f.square().sum() for f in first), wanted)

    with memcom.kernels.plain():
        expected = curvature()
    torch.testing.assert_close(curvature(), expected, rtol=1e-2, atol=1e-3)
    vectors, grads = layer(ids), torch.randn(2, N, 6)
    several = torch.autograd.grad(vectors, wanted, grads, is_grads_batched=True, retain_graph=True)
    for k, grad in enumerate(grads):
        single = torch.autograd.grad(vectors, wanted, grad, retain_graph=True)
        torch.testing.assert_close([s[k] for s in several], list(single), rtol=1e-4, atol=1e-5)


def test_what_the_kernels_cannot_take_is_left_to_others():
    choice = make(2, 8, 3)
    few = choice._replace(queries=choice.queries[:3], limits=choice.limits[:3])
    other = choice._replace(queries=choice.queries.detach().double())
    assert kernels.chosen_codes(choice) is not None
    for refused in (few, other):
        assert kernels.chosen_codes(refused) is None
        assert kernels.chosen_codewords(refused, refuse) is None
    with kernels.plain():
        assert kernels.chosen_codewords(choice, refuse) is None


@pytest.mark.parametrize("form", ["softmax", "centroid"])
@pytest.mark.parametrize("name", ["dpq", "mgqe"])
def test_layers_train_alike_with_and_without_the_kernels(name, form):
    torch.manual_seed(0)
    own = {"num_groups": 4, "num_codewords": 16, "form": form}
    layer = memcom.get(name)(2000, 16, **own)
    ids = torch.randint(2000, (40, 50), generator=torch.Generator().manual_seed(1))
    wanted = list(layer.parameters())

    def step():
        vectors = layer(ids)
        return vectors, *torch.autograd.grad(vectors.square().sum() + vectors.sum(), wanted)

    with memcom.kernels.plain():
        expected = step()
    torch.testing.assert_close(step(), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(
        layer.addresses(ids)["values"].numpy()[:2], layer.addresses(ids[:2])["values"].numpy()
    )
    torch.testing.assert_close(layer.freeze()(ids), layer(ids).detach(), rtol=0, atol=0)
