"""Optimizers on touched rows, against torch's own and against NumPy."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest
import torch

import memcom
from memcom import kernels, optim

compiled_and_plain = pytest.mark.parametrize("context", [contextlib.nullcontext, kernels.plain])


def twins(**options):
    layers = []
    for _ in range(2):
        torch.manual_seed(0)
        layers.append(memcom.MEmComEmbedding(200, 24, num_buckets=17, bias=True, **options))
    return layers


def steps(layer, optimizer, number=5):
    generator = torch.Generator().manual_seed(3)
    for _ in range(number):
        optimizer.zero_grad()
        ids = torch.randint(80, (60,), generator=generator)
        (layer(ids) * torch.randn(60, 24, generator=generator)).sum().backward()
        optimizer.step()


def assert_equal_layers(a, b):
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


@compiled_and_plain
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda p: optim.SGD(p, lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            lambda p: optim.LazyAdam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6),
            lambda p: torch.optim.SparseAdam(list(p), lr=0.02, betas=(0.8, 0.95), eps=1e-6),
        ),
    ],
)
def test_sparse_steps_are_torchs(ours, theirs, context):
    layer, reference = twins(sparse=True)
    with context():
        steps(layer, ours(layer.parameters()))
    with kernels.plain():
        steps(reference, theirs(reference.parameters()))
    assert_equal_layers(layer, reference)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda p: optim.SGD(p, lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (lambda p: optim.LazyAdam(p, lr=0.02), lambda p: torch.optim.Adam(p, lr=0.02)),
    ],
)
def test_dense_steps_are_torchs(ours, theirs):
    layer, reference = twins()
    steps(layer, ours(layer.parameters()))
    steps(reference, theirs(reference.parameters()))
    assert_equal_layers(layer, reference)


@compiled_and_plain
def test_rowwise_adagrad_is_its_formula(context):
    table = torch.nn.Parameter(torch.randn(50, 8))
    expected, total = table.detach().double().numpy().copy(), np.zeros((50, 1))
    optimizer = optim.RowwiseAdagrad([table], lr=0.3, eps=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(4):
        rows = np.sort(rng.choice(50, 9, replace=False))
        g = rng.normal(size=(9, 8)).astype(np.float32)
        indices = torch.from_numpy(rows).unsqueeze(0)
        values = torch.from_numpy(g)
        table.grad = torch.sparse_coo_tensor(indices, values, (50, 8), check_invariants=True)
        with context():
            optimizer.step()
        total[rows] += np.square(g).mean(1, keepdims=True)
        expected[rows] -= 0.3 * g / (np.sqrt(total[rows]) + 1e-3)
    np.testing.assert_allclose(table.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [optim.SGD, optim.RowwiseAdagrad, optim.LazyAdam])
def test_rows_that_were_not_read_do_not_move(make):
    layer = memcom.FullEmbedding(1000, 8, sparse=True)
    before = layer.table.detach().clone()
    ids = torch.tensor([3, 700, 3])
    optimizer = make(layer.parameters())
    layer(ids).sum().backward()
    optimizer.step()
    moved = (layer.table != before).any(1).nonzero().flatten()
    assert moved.tolist() == [3, 700]


@compiled_and_plain
def test_a_row_named_twice_is_changed_once_by_the_sum(context):
    table = torch.nn.Parameter(torch.ones(4, 2))
    indices = torch.tensor([[2, 0, 2]])
    table.grad = torch.sparse_coo_tensor(indices, torch.tensor([[1.0, 2], [5, 5], [3, 4]]), (4, 2))
    optimizer = optim.RowwiseAdagrad([table], lr=1.0)
    with context():
        optimizer.step()
    g = np.array([4.0, 6.0])
    expected = 1 - g / np.sqrt(np.square(g).mean())
    np.testing.assert_allclose(table.detach()[2].numpy(), expected, rtol=1e-6)


def test_state_survives_saving():
    layer, other = twins(sparse=True)
    optimizer = optim.LazyAdam(layer.parameters())
    steps(layer, optimizer)
    other.load_state_dict(layer.state_dict())
    resumed = optim.LazyAdam(other.parameters(), lr=9.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(layer, optimizer), steps(other, resumed)
    assert_equal_layers(layer, other)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: optim.SGD(p, lr=-1),
        lambda p: optim.RowwiseAdagrad(p, eps=-1e-3),
        lambda p: optim.LazyAdam(p, betas=(0.9, 1.0)),
        lambda p: optim.LazyAdam(p, lr=float("nan")),
    ],
)
def test_senseless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be .*got"):
        wrong([torch.nn.Parameter(torch.zeros(2, 2))])


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_are_forgotten_or_zero(set_to_none):
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = optim.SGD([weight], lr=0.1)
    weight.sum().backward()
    optimizer.zero_grad(set_to_none=set_to_none)
    assert weight.grad is None if set_to_none else not weight.grad.any()
