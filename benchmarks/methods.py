"""What is timed without gradients: layers, plain versions of them, bags, limits of the machine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.external import FBGEMM, fbgemm_table
from memcom import kernels
from memcom.embeddings import (
    BinaryCodeEmbedding,
    CompressedEmbedding,
    EmbeddingBag,
    HashingTrickEmbedding,
    MEmComBiasEmbedding,
    MEmComEmbedding,
    QREmbedding,
)
from memcom.kernels.topk import topk

Way = Callable[[Tensor], object]
RATIO = 16  # rows of the full table per row of a compressed one
BASELINE = "nn.Embedding"
BAG = 32  # ids in a bag
K = 100  # items that a search returns
COPIED = 2**28  # bytes of the large copy: more than any cache holds


def layers(n: int, e: int) -> dict[str, CompressedEmbedding]:
    """Compressors of about 1/16 of the rows; BCH, cut in blocks, is far smaller."""
    bits, rows = (n - 1).bit_length(), max(1, n // RATIO)
    return {
        "memcom": MEmComEmbedding(n, e, num_buckets=rows),
        "memcom-bias": MEmComBiasEmbedding(n, e, num_buckets=rows),
        "qr": QREmbedding(n, e, num_collisions=RATIO),
        "bch, 2 blocks": BinaryCodeEmbedding(n, e, block_bits=-(-bits // 2)),
        "bch, 3 blocks": BinaryCodeEmbedding(n, e, block_bits=-(-bits // 3)),
        "hash": HashingTrickEmbedding(n, e, num_buckets=rows),
    }


def forward_ways(n: int, e: int, largest: int) -> dict[str, Way]:
    """Ways to look up to ``largest`` ids up, without gradients; the baseline first."""
    table = nn.Embedding(n, e)
    bag = nn.EmbeddingBag.from_pretrained(table.weight.detach(), mode="sum")
    offsets = torch.arange(largest + 1)
    source, target = torch.randn(largest, e), torch.empty(largest, e)
    compressed = layers(n, e)
    u, v = (compressed["memcom"].get_parameter(name) for name in ("table", "multiplier"))
    ways: dict[str, Way] = {
        BASELINE: table,
        "nn.EmbeddingBag, bags of 1": lambda ids: bag(ids, offsets[: len(ids)]),
        "limit: copy of the output": lambda ids: target[: len(ids)].copy_(source[: len(ids)]),
        "memcom, indexed by hand": lambda ids: u[ids % len(u)] * v[ids],
    }
    fbgemm = fbgemm_table(n, e)
    if fbgemm is not None:
        ways[f"{FBGEMM}, bags of 1"] = lambda ids: fbgemm(ids, offsets[: len(ids) + 1])
    for name, layer in compressed.items():
        ways[name] = layer
        ways[f"{name}, plain"] = plainly(layer)
    return without_gradients(ways)


def bag_ways(n: int, e: int, largest: int) -> dict[str, Way]:
    """Ways to sum bags of `BAG` ids; as many ids as in the other lookups."""
    table = nn.EmbeddingBag(n, e, mode="sum")
    starts = torch.arange(0, largest + 1, BAG)
    ways: dict[str, Way] = {"nn.EmbeddingBag": lambda ids: table(ids, starts[: len(ids) // BAG])}
    fbgemm = fbgemm_table(n, e)
    if fbgemm is not None:
        ways[FBGEMM] = lambda ids: fbgemm(ids, starts[: len(ids) // BAG + 1])

    def pooled(layer: CompressedEmbedding) -> Way:
        bag = EmbeddingBag(layer, mode="sum")
        return lambda ids: bag(ids, starts[: len(ids) // BAG])

    compressed = layers(n, e)
    for name in ("memcom", "qr", "bch, 2 blocks"):
        ways[name] = pooled(compressed[name])
    return without_gradients(ways)


def check_ways(n: int, e: int) -> list[dict[str, Way]]:
    """MEmCom's lookup without and with the check that every id is in range; compiled, then plain.

    ``compose`` is the lookup of ids that are known to be good; a layer's call checks them.
    """
    layer = layers(n, e)["memcom"]

    def plain(ids: Tensor) -> object:
        with kernels.plain():
            return layer.compose(ids)

    bares: dict[str, Way] = {"memcom": layer.compose, "memcom, plain": plain}
    checked: dict[str, Way] = {"memcom": layer, "memcom, plain": plainly(layer)}
    return [
        without_gradients({f"{name}, no id check": bare, name: checked[name]})
        for name, bare in bares.items()
    ]


def search_ways(n: int, e: int) -> dict[str, Way]:
    """Ways to find the `K` best of ``n`` items; a batch is one row of ids, whose vectors ask."""
    table, layer = nn.Embedding(n, e), layers(n, e)["memcom"]
    ways: dict[str, Way] = {
        "scores of all items": lambda ids: (table.weight[ids] @ table.weight.T).topk(K),
        "topk of nn.Embedding": lambda ids: topk(table.weight[ids], table.weight, K),
        "topk of memcom": lambda ids: topk(layer(ids), layer, K),
    }
    return without_gradients(ways)


def copy_ways() -> dict[str, Way]:
    """The copy of a large block, which goes as fast as memory does."""
    source, target = torch.ones(COPIED // 4), torch.zeros(COPIED // 4)
    return {"limit: copy of 256 MiB": lambda ids: target.copy_(source)}


def plainly(layer: nn.Module) -> Way:
    """The layer's call on the plain PyTorch path."""

    def call(ids: Tensor) -> object:
        with kernels.plain():
            return layer(ids)

    return call


def without_gradients(ways: dict[str, Way]) -> dict[str, Way]:
    """The same ways, outside autograd."""
    return {name: torch.no_grad()(way) for name, way in ways.items()}
