"""What is timed: layers, plain versions of them, and limits of the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from memcom import kernels, optim
from memcom.embeddings import (
    BinaryCodeEmbedding,
    CompressedEmbedding,
    HashEmbedding,
    MEmComBiasEmbedding,
    MEmComEmbedding,
    QREmbedding,
)

Way = Callable[[Tensor], object]
ZIPF_EXPONENT = 1.05
RATIO = 16  # rows of the full table per row of a compressed one
BASELINE = "nn.Embedding"


def draw_ids(kind: str, num_embeddings: int, count: int, seed: int = 0) -> Tensor:
    """``count`` random ids: ``"uniform"``, or ``"zipf"`` with id 0 the most frequent."""
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        return torch.from_numpy(rng.integers(0, num_embeddings, count))
    weights = np.arange(1, num_embeddings + 1, dtype=np.float64) ** -ZIPF_EXPONENT
    total = np.cumsum(weights)
    ids = np.searchsorted(total, rng.random(count) * total[-1])
    return torch.from_numpy(ids.clip(max=num_embeddings - 1))


def layers(n: int, e: int) -> dict[str, CompressedEmbedding]:
    """Compressors of about 1/16 of the rows; BCH, cut in blocks, is far smaller."""
    bits, rows = (n - 1).bit_length(), max(1, n // RATIO)
    return {
        "memcom": MEmComEmbedding(n, e, num_buckets=rows),
        "memcom-bias": MEmComBiasEmbedding(n, e, num_buckets=rows),
        "qr": QREmbedding(n, e, num_collisions=RATIO),
        "bch, 2 blocks": BinaryCodeEmbedding(n, e, block_bits=-(-bits // 2)),
        "bch, 3 blocks": BinaryCodeEmbedding(n, e, block_bits=-(-bits // 3)),
        "hash": HashEmbedding(n, e, num_buckets=rows),
    }


def forward_ways(n: int, e: int, largest: int) -> dict[str, Way]:
    """Ways to look up to ``largest`` ids up, without gradients; the baseline first."""
    table = nn.Embedding(n, e)
    bag = nn.EmbeddingBag.from_pretrained(table.weight.detach(), mode="sum")
    offsets = torch.arange(largest)
    source, target = torch.randn(largest, e), torch.empty(largest, e)
    compressed = layers(n, e)
    u, v = (compressed["memcom"].get_parameter(name) for name in ("table", "multiplier"))
    ways: dict[str, Way] = {
        BASELINE: table,
        "nn.EmbeddingBag, bags of 1": lambda ids: bag(ids, offsets[: len(ids)]),
        "limit: copy of the output": lambda ids: target[: len(ids)].copy_(source[: len(ids)]),
        "memcom, indexed by hand": lambda ids: u[ids % len(u)] * v[ids],
    }
    for name, layer in compressed.items():
        ways[name] = layer
        ways[f"{name}, plain"] = _plainly(layer)
    return {name: torch.no_grad()(way) for name, way in ways.items()}


def _plainly(layer: nn.Module) -> Way:
    def call(ids: Tensor) -> object:
        with kernels.plain():
            return layer(ids)

    return call


def training_ways(n: int, e: int, largest: int, *, dense: bool) -> Iterator[dict[str, Way]]:
    """Ways to make one training step (forward, backward, step), by optimizer; baselines first.

    Args:
        n: Number of ids.
        e: Width.
        largest: Most ids in a step.
        dense: Also those that touch every row, which take long and four times the table's memory.

    Yields:
        The ways that belong together, by name; a baseline is first.
    """
    rows, upstream = max(1, n // RATIO), torch.randn(largest, e)

    def step(layer: nn.Module, optimizer: torch.optim.Optimizer) -> Way:
        def call(ids: Tensor) -> None:
            optimizer.zero_grad()
            layer(ids).backward(upstream[: len(ids)])
            optimizer.step()

        return call

    def table(sparse: bool) -> nn.Embedding:
        return nn.Embedding(n, e, sparse=sparse)

    def memcom(sparse: bool = True) -> MEmComEmbedding:
        return MEmComEmbedding(n, e, num_buckets=rows, sparse=sparse)

    def fused(layer: nn.Module, optimizer: optim.SGD | optim.LazyAdam) -> Way:
        optimizer.fuse(layer)
        return step(layer, optimizer)

    full, sparse, own = table(True), memcom(), memcom()
    yield {
        "nn.Embedding, sparse SGD": step(full, torch.optim.SGD(full.parameters(), lr=0.01)),
        "memcom, SGD": fused(own, optim.SGD(own.parameters(), lr=0.01)),
        "memcom, SGD, sparse gradients": step(sparse, optim.SGD(sparse.parameters(), lr=0.01)),
    }
    full, sparse, own = table(True), memcom(), memcom()
    yield {
        "nn.Embedding, SparseAdam": step(full, torch.optim.SparseAdam(list(full.parameters()))),
        "memcom, lazy Adam": fused(own, optim.LazyAdam(own.parameters())),
        "memcom, lazy Adam, sparse gradients": step(sparse, optim.LazyAdam(sparse.parameters())),
    }
    if dense:
        full, own, plain = table(False), memcom(), memcom(sparse=False)
        yield {
            "nn.Embedding, Adam(fused)": step(
                full, torch.optim.Adam(full.parameters(), fused=True)
            ),
            "memcom, lazy Adam": fused(own, optim.LazyAdam(own.parameters())),
            "memcom, Adam(fused)": step(plain, torch.optim.Adam(plain.parameters(), fused=True)),
        }
