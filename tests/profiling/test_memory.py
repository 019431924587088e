"""Bytes against real optimizers, saved files, the allocator and fresh processes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

import memcom
from memcom import kernels, optim, profiling


def state_bytes(optimizer):
    return sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )


@pytest.mark.parametrize("name", ["memcom-bias", "qr", "hash"])
def test_nbytes_by_tensor_adds_up_to_the_saved_file(name):
    emb = memcom.build(name, 500, 16, ratio=4)
    by_tensor = profiling.nbytes_by_tensor(emb)
    header_length = int.from_bytes(save(emb.state_dict())[:8], "little")
    assert sum(by_tensor.values()) == len(save(emb.state_dict())) - 8 - header_length
    assert set(by_tensor) == set(emb.state_dict())


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1)),
        ("momentum", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        ("adagrad", lambda p: torch.optim.Adagrad(p)),
        ("adam", lambda p: torch.optim.Adam(p)),
        ("adamw", lambda p: torch.optim.AdamW(p)),
    ],
)
def test_dense_formula_equals_what_torch_holds(name, make):
    emb = memcom.MEmComEmbedding(300, 8, num_buckets=20, bias=True)
    optimizer = make(emb.parameters())
    emb(torch.arange(10)).sum().backward()
    optimizer.step()
    memory = profiling.training_memory(emb, name)
    assert memory.parameters == 4 * (20 * 8 + 300 + 300)
    assert memory.gradients == sum(p.grad.numel() * 4 for p in emb.parameters())
    assert memory.optimizer_state == state_bytes(optimizer)
    assert memory.total == memory.parameters * 2 + memory.optimizer_state + memory.buffers


@pytest.mark.parametrize(
    ("name", "make"),
    [("sparse-adam", torch.optim.SparseAdam), ("adagrad", torch.optim.Adagrad)],
)
def test_sparse_formula_equals_what_torch_holds(name, make):
    emb = memcom.MEmComEmbedding(300, 8, num_buckets=20, sparse=True)
    optimizer = make(list(emb.parameters()))
    ids = torch.tensor([[1, 2, 1], [4, 24, 299]])
    with kernels.plain():  # compiled, a row that was read twice is one row of the gradient
        emb(ids).sum().backward()
    grads = [p.grad for p in emb.parameters()]
    held = sum(g._indices().numel() * 8 + g._values().numel() * 4 for g in grads)
    optimizer.step()
    memory = profiling.training_memory(emb, name, ids)
    assert memory.gradients == held == 6 * (8 * 4 + 8) + 6 * (4 + 8)
    assert memory.optimizer_state == state_bytes(optimizer)


def test_a_fused_optimizer_holds_moments_and_no_gradient():
    pytest.importorskip("numba")
    kernels.warm_up()
    emb = memcom.MEmComEmbedding(300, 8, num_buckets=20, sparse=True)
    lazy = optim.LazyAdam(emb.parameters())
    lazy.fuse(emb)
    emb(torch.arange(10)).sum().backward()
    lazy.step()
    for ids in (None, torch.arange(10)):
        memory = profiling.training_memory(emb, "lazy-adam", ids)
        assert memory.gradients == sum(p.grad is not None for p in emb.parameters()) == 0
        assert memory.optimizer_state == state_bytes(lazy)


def test_hash_seeds_count_as_buffers_and_frozen_tables_need_no_gradient():
    emb = memcom.build("double-hash", 300, 8, ratio=4)
    memory = profiling.training_memory(emb, "sgd")
    assert memory.buffers == 8 * len(emb.seeds) > 0
    for p in emb.parameters():
        p.requires_grad_(False)
    frozen = profiling.training_memory(emb, "adam")
    assert (frozen.gradients, frozen.optimizer_state) == (0, 0)
    assert frozen.parameters == memory.parameters


def test_training_memory_refuses_what_torch_refuses():
    emb = memcom.MEmComEmbedding(30, 8, num_buckets=5)
    with pytest.raises(ValueError, match="got 'lion'"):
        profiling.training_memory(emb, "lion")
    with pytest.raises(ValueError, match="adam takes no sparse gradients"):
        profiling.training_memory(emb, "adam", torch.arange(3))


def test_allocator_sees_a_table_exactly():
    found = profiling.allocated(lambda: nn.Embedding(100_000, 64))
    assert found.kept == 100_000 * 64 * 4


def test_allocator_peak_counts_what_was_freed():
    def work():
        big = torch.empty(1_000_000)
        small = torch.empty(1_000)
        del big
        return small

    assert profiling.allocated(work) == profiling.Allocation(peak=4_004_000, kept=4_000)


@pytest.mark.slow
def test_resident_memory_of_a_fresh_process():
    table = 64 * 2**20
    code = "x = torch.ones(2**24); del x"  # the peak stays after memory is freed
    found = profiling.resident(code, setup="import torch; torch.ones(1)")
    assert table <= found.growth < 1.3 * table
    assert found.before > 2**24  # an interpreter with torch


@pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps ru_maxrss over exec")
def test_resident_does_not_inherit_the_parents_peak():
    ballast = np.ones(2**26)  # 512 MiB here must not show up there
    found = profiling.resident("y = 1", setup="x = 1")
    assert found.peak < 100 * 2**20 < ballast.nbytes


def test_resident_reports_errors():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        profiling.resident("1 / 0", setup="x = 1")
