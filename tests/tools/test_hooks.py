"""Hooks on tables, gradients and modules, with and without a fused optimizer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memcom import kernels, optim
from tests.embeddings.cases import make, some_ids


@pytest.fixture(autouse=True, scope="module")
def loaded():
    pytest.importorskip("numba")
    assert kernels.warm_up()


def norm_of(gradient):
    return (gradient.to_dense() if gradient.is_sparse else gradient).norm().item()


def on_tables(hook):
    def register(layer, seen):
        for p in layer.parameters():
            p.register_hook(lambda gradient: hook(gradient, seen))

    return register


def on_accumulated(hook):
    def register(layer, seen):
        for p in layer.parameters():
            p.register_post_accumulate_grad_hook(lambda p: hook(p, seen))

    return register


@on_tables
def look(gradient, seen):
    seen.append(norm_of(gradient))


@on_tables
def halve(gradient, seen):
    seen.append(norm_of(gradient))
    return gradient * 0.5


@on_accumulated
def halve_in_place(p, seen):
    seen.append(norm_of(p.grad))
    p.grad.mul_(0.5)


@on_accumulated
def replace(p, seen):
    seen.append(norm_of(p.grad))
    p.grad = p.grad * 0.5


@on_accumulated
def step_at_once(p, seen):
    with torch.no_grad():
        p.add_(p.grad, alpha=-0.2)
    p.grad = None


def before_accumulation(layer, seen):
    for p in layer.parameters():
        node = p.view_as(p).grad_fn.next_functions[0][0]
        node.register_prehook(lambda gradients: (gradients[0] * 0.5,))
        seen.append(0.0)
        layer.__dict__.setdefault("kept", []).append(node)


def of_the_module(layer, seen):
    layer.register_full_backward_pre_hook(lambda layer, outward: (outward[0] * 0.5,))
    layer.register_full_backward_hook(lambda layer, _, outward: seen.append(norm_of(outward[0])))


HOOKS = [look, halve, halve_in_place, replace, step_at_once, before_accumulation, of_the_module]
NAMES = "look halve halve_in_place replace step_at_once before_accumulation of_the_module".split()


def trained(layer, register, rule, *, fuse):
    """Vectors after three steps, and what the hooks saw, in no order."""
    seen, ids = [], some_ids(600)
    optimizer = rule(layer.parameters(), lr=0.1)
    if fuse:
        assert optimizer.fuse(layer)
    register(layer, seen)
    for _ in range(3):
        optimizer.zero_grad()
        (layer(ids) - 1).square().sum(-1).mean().backward()
        optimizer.step()
    with torch.no_grad():
        return layer(torch.arange(501)), torch.tensor(sorted(seen))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("register", HOOKS, ids=NAMES)
def test_a_hook_sees_and_changes_what_it_does_without_kernels(register):
    for spec in ("qr", "memcom-bias"):
        for sparse in (False, True):
            with kernels.plain():
                layer = make(spec, sparse=sparse)
                vectors, seen = trained(layer, register, optim.SGD, fuse=False)
            for fuse in (False, True):
                layer = make(spec, sparse=sparse)
                if fuse and sparse and register is before_accumulation:
                    with pytest.raises(RuntimeError, match="has changed the type of value"):
                        trained(layer, register, optim.SGD, fuse=True)
                    continue
                found = trained(layer, register, optim.SGD, fuse=fuse)
                torch.testing.assert_close(found[0], vectors, rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(found[1], seen, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("register", HOOKS[:5], ids=NAMES[:5])
@pytest.mark.parametrize("sparse", [False, True])
def test_hooks_on_a_full_table_are_those_on_nn_embedding(sparse, register):
    embedding = nn.Embedding(501, 16, sparse=sparse)
    layer = make("full", sparse=sparse)
    embedding.load_state_dict({"weight": layer.table.detach().clone()})
    expected = trained(embedding, register, torch.optim.SGD, fuse=False)
    for fuse in (False, True):
        layer = make("full", sparse=sparse)
        found = trained(layer, register, optim.SGD, fuse=fuse)
        torch.testing.assert_close(found, expected)


def test_a_hook_that_makes_a_sparse_gradient_dense_is_refused_as_torch_refuses_it():
    for layer in (nn.Embedding(501, 16, sparse=True), make("full", sparse=True)):
        for p in layer.parameters():
            p.register_hook(lambda gradient: gradient.to_dense())
        if not isinstance(layer, nn.Embedding):
            optim.SGD(layer.parameters(), lr=0.1).fuse(layer)
        with pytest.raises(RuntimeError, match=r"hook .* has changed the type of value"):
            layer(some_ids(600)).sum().backward()
