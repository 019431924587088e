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
