from __future__ import annotations

import numpy as np
import pytest
import torch

from memcom import kernels

SIZES = [3, 0, 1, 4, 0]
A, B = 5, 2


def some(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def test_each_row_is_multiplied_by_the_matrix_of_its_class():
    rows, weights = some(8, A), some(5, A, B, seed=1)
    classes = np.repeat(np.arange(5), SIZES)
    expected = np.einsum("ia,iab->ib", rows.detach(), weights.detach().numpy()[classes])
    np.testing.assert_allclose(kernels.class_product(rows, weights, SIZES).detach(), expected)


@pytest.mark.parametrize("sizes", [[0, 0], [0], []])
def test_no_rows_have_no_products_and_no_gradients(sizes):
    rows, weights = some(0, A), some(len(sizes), A, B)
    product = kernels.class_product(rows, weights, sizes)
    assert product.shape == (0, B)
    product.sum().backward()
    assert rows.grad.shape == rows.shape
    assert torch.equal(weights.grad, torch.zeros_like(weights))


def test_first_and_second_derivatives_are_those_of_finite_differences():
    rows, weights = some(8, A), some(5, A, B, seed=1)

    def product(rows, weights):
        return kernels.class_product(rows, weights, SIZES)

    assert torch.autograd.gradcheck(product, (rows, weights), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(product, (rows, weights), check_batched_grad=True)


def test_only_what_wants_a_gradient_gets_one():
    rows, weights = some(8, A).detach(), some(5, A, B)
    kernels.class_product(rows, weights, SIZES).sum().backward()
    totals = [part.sum(0) for part in rows.split(SIZES)]
    torch.testing.assert_close(weights.grad, torch.stack(totals)[:, :, None].expand(5, A, B))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("classes", [1, 2, 21])
@pytest.mark.parametrize(("a", "b"), [(64, 64), (5, 16), (32, 48), (16, 2)])
def test_compiled_products_and_gradients_are_those_of_numpy(threads, classes, a, b):
    draw = np.random.default_rng(classes)
    sizes = draw.multinomial(700, draw.dirichlet(np.ones(classes))).tolist()
    if classes > 2:
        sizes[0], sizes[3] = 0, sizes[3] + sizes[0]
    rows, weights, grad = (
        torch.from_numpy(draw.standard_normal(shape).astype(np.float32)).requires_grad_()
        for shape in ((700, a), (classes, a, b), (700, b))
    )
    x, w, g = (t.detach().double().numpy() for t in (rows, weights, grad))
    own = w[np.repeat(np.arange(classes), sizes)]
    ends = np.cumsum(sizes)
    outer = [x[e - n : e].T @ g[e - n : e] for e, n in zip(ends, sizes, strict=True)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        product = kernels.class_product(rows, weights, sizes)
        found = torch.autograd.grad(product, (rows, weights), grad)
    finally:
        torch.set_num_threads(before)
    expected = np.einsum("ia,iab->ib", x, own), np.einsum("ib,iab->ia", g, own), np.stack(outer)
    for got, wanted in zip((product, *found), expected, strict=True):
        np.testing.assert_allclose(got.detach(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", [[600, 99], [600, 101], [701, -1]])
def test_sizes_that_do_not_add_up_are_refused(sizes):
    with pytest.raises(RuntimeError, match="split"):
        kernels.class_product(torch.ones(700, 16), torch.ones(2, 16, 16), sizes)


def test_gradients_that_are_not_contiguous_are_left_to_torch():
    rows, weights = torch.randn(700, 16), torch.randn(2, 16, 16)
    wanted = rows.requires_grad_(), weights.requires_grad_()
    found = torch.autograd.grad(kernels.class_product(*wanted, [300, 400]).sum(), wanted)
    ones = torch.ones(16)
    expected = torch.cat(
        [(w @ ones).expand(n, 16) for w, n in zip(weights, (300, 400), strict=True)]
    )
    torch.testing.assert_close(found[0], expected)
