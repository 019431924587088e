"""What is timed with gradients: training steps (forward, backward, step), by optimizer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.external import FBGEMM, fbgemm_table
from benchmarks.methods import RATIO, Way
from memcom import optim
from memcom.embeddings import MEmComEmbedding


def memcom_layer(n: int, e: int, *, sparse: bool = True) -> MEmComEmbedding:
    """MEmCom with 1/16 of the rows."""
    return MEmComEmbedding(n, e, num_buckets=max(1, n // RATIO), sparse=sparse)


def sgd_ways(n: int, e: int, largest: int) -> dict[str, Way]:
    """Steps of SGD on the rows that were read, for up to ``largest`` ids; the baseline first."""
    upstream = torch.randn(largest, e)
    full, sparse = nn.Embedding(n, e, sparse=True), memcom_layer(n, e)
    ways = {
        "nn.Embedding, sparse SGD": _step(full, torch.optim.SGD(full.parameters(), 0.01), upstream),
        "memcom, SGD": _fused(optim.SGD, n, e, upstream),
        "memcom, SGD, sparse gradients": _step(
            sparse, optim.SGD(sparse.parameters(), 0.01), upstream
        ),
    }
    table = fbgemm_table(n, e)
    if table is not None:
        offsets, layer = torch.arange(largest + 1), table

        def call(ids: Tensor) -> None:
            layer(ids, offsets[: len(ids) + 1]).backward(upstream[: len(ids)])

        ways[f"{FBGEMM}, SGD"] = call
    return ways


def adam_ways(n: int, e: int, largest: int) -> dict[str, Way]:
    """Steps of Adam on the rows that were read; the baseline first."""
    upstream = torch.randn(largest, e)
    full, sparse = nn.Embedding(n, e, sparse=True), memcom_layer(n, e)
    adam = torch.optim.SparseAdam(list(full.parameters()))
    return {
        "nn.Embedding, SparseAdam": _step(full, adam, upstream),
        "memcom, lazy Adam": _fused(optim.LazyAdam, n, e, upstream),
        "memcom, lazy Adam, sparse gradients": _step(
            sparse, optim.LazyAdam(sparse.parameters()), upstream
        ),
    }


def dense_ways(n: int, e: int, largest: int) -> dict[str, Way]:
    """Steps of Adam on every row, in four times the table's memory; the baseline first."""
    upstream = torch.randn(largest, e)
    full, plain = nn.Embedding(n, e), memcom_layer(n, e, sparse=False)
    return {
        "nn.Embedding, Adam(fused)": _step(
            full, torch.optim.Adam(full.parameters(), fused=True), upstream
        ),
        "memcom, lazy Adam": _fused(optim.LazyAdam, n, e, upstream),
        "memcom, Adam(fused)": _step(
            plain, torch.optim.Adam(plain.parameters(), fused=True), upstream
        ),
    }


def _step(layer: nn.Module, optimizer: torch.optim.Optimizer, upstream: Tensor) -> Way:
    def call(ids: Tensor) -> None:
        optimizer.zero_grad()
        layer(ids).backward(upstream[: len(ids)])
        optimizer.step()

    return call


def _fused(rule: type[optim.SGD | optim.LazyAdam], n: int, e: int, upstream: Tensor) -> Way:
    """A step that changes the tables during the backward pass."""
    layer = memcom_layer(n, e)
    optimizer = rule(layer.parameters())
    optimizer.fuse(layer)
    return _step(layer, optimizer, upstream)
