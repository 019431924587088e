"""Two processes with gloo: a model trains as it does in one process on the whole batch."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import memcom
from tests.embeddings.cases import SPECS, make, some_ids

pytestmark = [pytest.mark.ci, pytest.mark.slow]

CPU = torch.device("cpu")
IDS = some_ids(40, 20)
TARGET = torch.randn(40, 20, 16, generator=torch.Generator().manual_seed(5))


def ddp(layer: nn.Module) -> nn.Module:
    return DistributedDataParallel(layer)


def fsdp1(layer: nn.Module, *, use_orig_params: bool = True) -> nn.Module:
    from torch.distributed.fsdp import FullyShardedDataParallel

    def shard(module: nn.Module) -> nn.Module:
        return FullyShardedDataParallel(module, device_id=CPU, use_orig_params=use_orig_params)

    return shard(nn.Sequential(shard(layer)))


def fsdp1_flat(layer: nn.Module) -> nn.Module:
    return fsdp1(layer, use_orig_params=False)


def fsdp2(layer: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    return fully_shard(nn.Sequential(fully_shard(layer, mesh=mesh)), mesh=mesh)


WRAPPERS = {wrap.__name__: wrap for wrap in (ddp, fsdp1, fsdp1_flat, fsdp2)}


def built(spec: str, *, sparse: bool = False) -> nn.Module:
    if spec != "nn.Embedding":
        return make(spec, padding_idx=3, sparse=sparse)
    torch.manual_seed(0)
    return nn.Embedding(501, 16, padding_idx=3, sparse=sparse)


def losses(
    model: nn.Module, ids: torch.Tensor, target: torch.Tensor, optimizer: Any = None
) -> list[float]:
    if optimizer is None:
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    found = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (model(ids) - target).square().mean()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def join(rank: int, folder: str) -> slice:
    """Be one of the two processes; return its half of the batch."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    memcom.kernels.warm_up()
    return slice(20 * rank, 20 * rank + 20)


def leave() -> None:
    """End the process at once: gloo's threads can abort one that is taken down in order."""
    dist.barrier()
    os._exit(0)


def train(rank: int, wrapper: str, sparse: bool, folder: str) -> None:
    """One of the two processes: half the batch of every layer, and the mean of the losses."""
    mine, found = join(rank, folder), {}
    for spec in ["nn.Embedding", *SPECS]:
        layer = built(spec, sparse=sparse)
        asked = {p.requires_grad for p in layer.parameters()}
        if True in asked and not (wrapper == "fsdp1_flat" and False in asked):  # torch refuses both
            model = WRAPPERS[wrapper](layer)
            both = torch.tensor(losses(model, IDS[mine], TARGET[mine]))
            dist.all_reduce(both)
            found[spec] = both / 2
    if rank == 0:
        torch.save(found, Path(folder, "losses"))
    leave()


@pytest.mark.parametrize(
    ("wrapper", "sparse"),
    [("ddp", False), ("ddp", True), ("fsdp1", False), ("fsdp1_flat", False), ("fsdp2", False)],
)
def test_two_processes_train_every_layer_as_one_does(wrapper, sparse, tmp_path):
    torch.multiprocessing.spawn(train, (wrapper, sparse, str(tmp_path)), nprocs=2)
    found = torch.load(tmp_path / "losses")
    assert len(found) > len(SPECS) - 3
    with memcom.kernels.plain():
        for spec, got in found.items():
            expected = torch.tensor(losses(built(spec), IDS, TARGET))
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5, msg=spec)


FUSED = [
    (spec, rule, first)
    for spec in ("full", "qr", "memcom-bias", "hash-embedding")
    for rule in ("SGD", "RowwiseAdagrad", "LazyAdam")
    for first in ("fuse", "wrap")
]


def fused(spec: str, rule: str, *, sparse: bool = False) -> tuple[Any, Any]:
    layer = make(spec, padding_idx=3, sparse=sparse)
    return layer, getattr(memcom.optim, rule)(layer.parameters(), lr=0.05)


def train_fused(rank: int, sparse: bool, folder: str) -> None:
    """One of the two processes: half the batch, with a fused optimizer; every vector afterwards."""
    mine, found = join(rank, folder), []
    for spec, rule, first in FUSED:
        layer, optimizer = fused(spec, rule, sparse=sparse)
        if first == "fuse":
            assert optimizer.fuse(layer)
        model = DistributedDataParallel(layer)
        if first == "wrap":
            assert optimizer.fuse(model)
        losses(model, IDS[mine], TARGET[mine], optimizer)
        found.append(layer.materialize().detach())
    torch.save(found, Path(folder, f"vectors{rank}"))
    leave()


@pytest.mark.parametrize("sparse", [False, True])
def test_a_fused_optimizer_under_ddp_ends_where_one_process_ends(sparse, tmp_path):
    pytest.importorskip("numba")
    torch.multiprocessing.spawn(train_fused, (sparse, str(tmp_path)), nprocs=2)
    one, other = (torch.load(tmp_path / f"vectors{rank}") for rank in (0, 1))
    for case, mine, theirs in zip(FUSED, one, other, strict=True):
        assert torch.equal(mine, theirs), case
        layer, optimizer = fused(*case[:2])
        with memcom.kernels.plain():
            losses(layer, IDS, TARGET, optimizer)
        torch.testing.assert_close(mine, layer.materialize().detach(), msg=str(case))


def test_gradients_are_sparse_again_after_a_model_under_ddp():
    layer = make("memcom", sparse=True)
    assert layer.sparse
    DistributedDataParallel._active_ddp_module = layer
    try:
        assert not layer.sparse
        assert "sparse=True" in repr(layer)
    finally:
        DistributedDataParallel._active_ddp_module = None
    layer(some_ids(600)).sum().backward()
    assert layer.table.grad.is_sparse
