"""Training around a layer: optimizers, clipping, autocast, second derivatives, checkpoints."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import memcom
from tests.embeddings.cases import make, some_ids
from tests.tools.reference import every_layer, full_table, trained

close = torch.testing.assert_close

OPTIMIZERS = {
    "momentum": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "nesterov": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "maximize": functools.partial(torch.optim.SGD, lr=0.1, maximize=True),
    "adagrad": functools.partial(torch.optim.Adagrad, lr=0.1),
    "weight decay": functools.partial(torch.optim.SGD, lr=0.1, weight_decay=0.1),
    "adamw": functools.partial(torch.optim.AdamW, lr=0.1),
}


def table_after(layer: nn.Module, optimizer, *, clip: bool = False) -> torch.Tensor:
    ids = some_ids(600)
    stepping = optimizer([p for p in layer.parameters() if p.requires_grad])
    for _ in range(3):
        stepping.zero_grad()
        (layer(ids) - 1).square().mean().backward()
        if clip:
            nn.utils.clip_grad_norm_(layer.parameters(), 0.02)
            nn.utils.clip_grad_value_(layer.parameters(), 0.002)
        stepping.step()
    return layer.materialize().detach()


@every_layer
def test_optimizers_step_as_on_the_plain_lookup_and_sparse_as_dense(spec):
    if not trained(make(spec)):
        pytest.skip("trains nothing")
    for name, optimizer in OPTIMIZERS.items():
        with memcom.kernels.plain():
            expected = table_after(make(spec, padding_idx=3), optimizer, clip=True)
        close(table_after(make(spec, padding_idx=3), optimizer, clip=True), expected)
        if name in ("momentum", "nesterov", "maximize", "adagrad"):
            expected = table_after(make(spec, padding_idx=3), optimizer)
            found = table_after(make(spec, padding_idx=3, sparse=True), optimizer)
            close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["weight decay", "adamw"])
def test_optimizers_refuse_sparse_gradients_of_a_layer_as_of_nn_embedding(name):
    embedding = nn.Embedding(501, 16, sparse=True)
    for layer in (embedding, make("memcom", sparse=True), make("qr", sparse=True)):
        stepping = OPTIMIZERS[name](layer.parameters())
        layer(some_ids(600)).sum().backward()
        with pytest.raises(RuntimeError, match="sparse"):
            stepping.step()


@every_layer
def test_autocast_changes_precision_only(spec):
    layer, ids = make(spec, padding_idx=3), some_ids(600)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors = layer(ids)
        if trained(layer):
            vectors.float().square().sum().backward()
    assert vectors.dtype in (torch.float32, torch.bfloat16)  # the latter after a matrix product
    close(vectors.float(), full_table(layer)(ids), rtol=0.05, atol=0.05)
    for name, p in layer.named_parameters():
        assert p.grad is None or p.grad.dtype == p.dtype, name


def dense(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


@every_layer
@pytest.mark.parametrize("sparse", [False, True])
def test_second_derivatives_are_those_of_the_plain_lookup(spec, sparse):
    ids = some_ids(40, 20)

    def second(layer):
        parameters = [p for p in layer.parameters() if p.requires_grad]
        first = torch.autograd.grad(layer(ids).pow(3).mean(), parameters, create_graph=True)
        total = sum(dense(g).square().sum() for g in first)
        return torch.autograd.grad(total, parameters, allow_unused=True)

    if not trained(make(spec)):
        pytest.skip("trains nothing")
    with memcom.kernels.plain():
        expected = second(make(spec, padding_idx=3))
    found = second(make(spec, padding_idx=3, sparse=sparse))
    for got, want in zip(found, expected, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            close(dense(got), want)


@every_layer
def test_checkpointing_and_saving_elsewhere_leave_gradients_as_they_are(spec):
    layer, ids = make(spec, padding_idx=3), some_ids(600)
    if not trained(layer):
        pytest.skip("trains nothing")
    parameters = [p for p in layer.parameters() if p.requires_grad]
    expected = torch.autograd.grad(layer(ids).square().sum(), parameters)
    again = checkpoint(layer, ids, use_reentrant=False).square().sum()
    with torch.autograd.graph.save_on_cpu():
        elsewhere = layer(ids).square().sum()
    for loss in (again, elsewhere):
        for got, want in zip(torch.autograd.grad(loss, parameters), expected, strict=True):
            close(got, want)


@every_layer
def test_several_gradients_at_once_are_those_one_by_one(spec):
    layer, ids = make(spec, padding_idx=3), some_ids(600)
    if not trained(layer):
        pytest.skip("trains nothing")
    parameters = [p for p in layer.parameters() if p.requires_grad]
    vectors = layer(ids)
    directions = torch.randn(3, *vectors.shape, generator=torch.Generator().manual_seed(2))
    keep = {"retain_graph": True}
    batched = torch.autograd.grad(vectors, parameters, directions, is_grads_batched=True, **keep)
    mapped = torch.func.vmap(lambda v: torch.autograd.grad(vectors, parameters, v, **keep))
    for found in (batched, mapped(directions)):
        for k, direction in enumerate(directions):
            single = torch.autograd.grad(vectors, parameters, direction, **keep)
            for got, want in zip(found, single, strict=True):
                assert not got.requires_grad
                close(got[k], want, rtol=1e-4, atol=1e-4)
