"""memcom.profiling against real optimizers, saved files, the allocator and planted slowness."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

import memcom
from memcom import kernels, profiling


class Clocked(nn.Embedding):
    """An embedding that takes as long as it is told, on a clock of its own."""

    now = 0.0
    hiccups: ClassVar[list[bool]] = []

    def __init__(self, *args, seconds=1e-3):
        super().__init__(*args)
        self.seconds = seconds
        self.seen = []

    def forward(self, ids):
        self.seen.append(ids)
        late = 50.0 if Clocked.hiccups and Clocked.hiccups.pop(0) else 0.0
        Clocked.now += self.seconds + late
        return super().forward(ids)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time passes only inside `Clocked` layers."""
    Clocked.hiccups = []
    monkeypatch.setattr("memcom.profiling.timing.time.perf_counter", lambda: Clocked.now)


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


def test_hash_seeds_count_as_buffers_and_frozen_tables_need_no_gradient():
    emb = memcom.build("double-hash", 300, 8, ratio=4)
    memory = profiling.training_memory(emb, "sgd")
    assert memory.buffers == sum(b.numel() * b.element_size() for b in emb.buffers()) > 0
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
    found = profiling.resident("x = torch.ones(2**24)", setup="import torch; torch.ones(1)")
    assert table <= found.growth < 1.3 * table
    assert found.before > 2**24  # an interpreter with torch


@pytest.mark.slow
def test_resident_does_not_inherit_the_parents_peak_and_reports_errors():
    ballast = np.ones(2**26)  # 512 MiB here must not show up there
    found = profiling.resident("y = 1", setup="x = 1")
    assert found.peak < 2**28 < ballast.nbytes
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        profiling.resident("1 / 0", setup="x = 1")


def test_planted_slowness_is_measured():
    slow, fast = Clocked(100, 4, seconds=6e-3), Clocked(100, 4, seconds=2e-3)
    timing = profiling.time_lookup(slow, fast, batch_size=8, repeats=21, threads=1)
    assert (timing.median, timing.baseline_median) == pytest.approx((6e-3, 2e-3))
    assert (timing.ratio, *timing.interval) == pytest.approx((3, 3, 3))
    assert (timing.threads, timing.device, timing.repeats) == (1, "cpu", 21)
    assert "21 interleaved pairs" in str(timing)


def test_a_few_hiccups_change_neither_median_nor_interval():
    slow, fast = Clocked(100, 4, seconds=6e-3), Clocked(100, 4, seconds=2e-3)
    Clocked.hiccups = [i % 11 == 0 for i in range(48)]  # both layers are hit
    timing = profiling.time_lookup(slow, fast, batch_size=8, repeats=21)
    assert (timing.ratio, *timing.interval) == pytest.approx((3, 3, 3))


def test_layer_and_baseline_take_turns_at_going_first():
    calls = []

    class Named(Clocked):
        def forward(self, ids):
            calls.append(self.name)
            return super().forward(ids)

    a, b = Named(10, 2), Named(10, 2)
    a.name, b.name = "a", "b"
    profiling.time_lookup(a, b, batch_size=2, repeats=20)
    firsts = calls[6::2]
    assert firsts == ["b", "a"] * 10 or firsts == ["a", "b"] * 10


def test_both_get_the_same_fresh_ids_every_time():
    a, b = Clocked(1000, 4), Clocked(1000, 4)
    threads = torch.get_num_threads()
    profiling.time_lookup(a, b, batch_size=16, repeats=20, threads=1, backward=True)
    assert torch.get_num_threads() == threads
    assert all(map(torch.equal, a.seen, b.seen))
    assert len({tuple(ids.tolist()) for ids in a.seen}) == len(a.seen) == 23
    assert a.weight.grad is not None


def test_ids_follow_popularity():
    a, b = Clocked(4, 2), Clocked(4, 2)
    counts = np.array([6, 0, 3, 1])
    profiling.time_lookup(a, b, batch_size=2000, repeats=20, counts=counts)
    seen = torch.bincount(torch.cat(a.seen), minlength=4).numpy()
    assert np.allclose(seen / seen.sum(), counts / 10, atol=0.02)
    assert seen[1] == 0


def test_time_lookup_refuses_weak_claims():
    a, b = nn.Embedding(10, 2), nn.Embedding(11, 2)
    with pytest.raises(ValueError, match="at least 20"):
        profiling.time_lookup(a, a, repeats=5)
    with pytest.raises(ValueError, match="hold 10 and 11 ids"):
        profiling.time_lookup(a, b)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        profiling.time_lookup(a, a, batch_size=0)
    with pytest.raises(ValueError, match=r"shape \(10,\)"):
        profiling.time_lookup(a, a, counts=np.ones(3))


@pytest.mark.parametrize("n", [6, 20, 101])
def test_median_interval_covers_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    inside = 0
    for _ in range(2000):
        low, high = profiling.median_interval(rng.exponential(size=n))
        inside += low <= np.log(2) <= high
    assert 0.94 <= inside / 2000 <= 0.985
    with pytest.raises(ValueError, match="5 values cannot"):
        profiling.median_interval(np.ones(5))
