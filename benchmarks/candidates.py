"""Candidates of the benchmark: lookups, bags, searches and training steps, beside their baselines.

Each function returns candidates by name, the baseline first, for tables of ``n`` ids and width
``e`` and batches of up to ``largest`` ids.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.fbgemm import FBGEMM, fbgemm_table
from memcom import kernels, optim
from memcom.budget import build
from memcom.embeddings import CompressedEmbedding, EmbeddingBag
from memcom.kernels.topk import topk
from memcom.profiling.timing import Candidate

Candidates = dict[str, Candidate]

RATIO = 16  # rows of the full table per row of a compressed one
BASELINE = "nn.Embedding"
BAG = 32  # ids in a bag
K = 100  # items that a search returns
COPIED = 2**28  # bytes of the large copy: more than any cache holds


def compressed(n: int, e: int) -> dict[str, CompressedEmbedding]:
    """Build compressors of about 1/16 of the rows; BCH, cut in blocks, is far smaller."""
    bits, rows = (n - 1).bit_length(), max(1, n // RATIO)
    return {
        "memcom": build("memcom", n, e, num_buckets=rows),
        "memcom-bias": build("memcom-bias", n, e, num_buckets=rows),
        "qr": build("qr", n, e, num_collisions=RATIO),
        "bch, 2 blocks": build("bch", n, e, block_bits=-(-bits // 2)),
        "bch, 3 blocks": build("bch", n, e, block_bits=-(-bits // 3)),
        "hash": build("hash", n, e, num_buckets=rows),
    }


def memcom_layer(n: int, e: int, *, sparse: bool = True) -> CompressedEmbedding:
    """Build MEmCom with 1/16 of the rows."""
    return build("memcom", n, e, num_buckets=max(1, n // RATIO), sparse=sparse)


def plainly(layer: nn.Module) -> Candidate:
    """Call a layer on the plain PyTorch path."""

    def call(ids: Tensor) -> object:
        with kernels.plain():
            return layer(ids)

    return call


def without_gradients(candidates: Candidates) -> Candidates:
    """Run candidates outside autograd."""
    return {name: torch.no_grad()(candidate) for name, candidate in candidates.items()}


# --- without gradients ----------------------------------------------------------------------------


def copies() -> Candidates:
    """Copy a large block, as fast as memory goes."""
    source, target = torch.ones(COPIED // 4), torch.zeros(COPIED // 4)
    return {"limit: copy of 256 MiB": lambda ids: target.copy_(source)}


def lookups(n: int, e: int, largest: int) -> Candidates:
    """Look up ids, compiled and plain, beside the copy of the output: a limit of the machine."""
    table = nn.Embedding(n, e)
    bag = nn.EmbeddingBag.from_pretrained(table.weight.detach(), mode="sum")
    offsets = torch.arange(largest + 1)
    source, target = torch.randn(largest, e), torch.empty(largest, e)
    layers = compressed(n, e)
    u, v = (layers["memcom"].get_parameter(name) for name in ("table", "multiplier"))
    found: Candidates = {
        BASELINE: table,
        "nn.EmbeddingBag, bags of 1": lambda ids: bag(ids, offsets[: len(ids)]),
        "limit: copy of the output": lambda ids: target[: len(ids)].copy_(source[: len(ids)]),
        "memcom, indexed by hand": lambda ids: u[ids % len(u)] * v[ids],
    }
    fbgemm = fbgemm_table(n, e)
    if fbgemm is not None:
        found[f"{FBGEMM}, bags of 1"] = lambda ids: fbgemm(ids, offsets[: len(ids) + 1])
    for name, layer in layers.items():
        found[name] = layer
        found[f"{name}, plain"] = plainly(layer)
    return without_gradients(found)


def bags(n: int, e: int, largest: int) -> Candidates:
    """Sum bags of `BAG` ids; as many ids as in the other lookups."""
    table = nn.EmbeddingBag(n, e, mode="sum")
    starts = torch.arange(0, largest + 1, BAG)
    found: Candidates = {"nn.EmbeddingBag": lambda ids: table(ids, starts[: len(ids) // BAG])}
    fbgemm = fbgemm_table(n, e)
    if fbgemm is not None:
        found[FBGEMM] = lambda ids: fbgemm(ids, starts[: len(ids) // BAG + 1])

    def pooled(layer: CompressedEmbedding) -> Candidate:
        bag = EmbeddingBag(layer, mode="sum")
        return lambda ids: bag(ids, starts[: len(ids) // BAG])

    layers = compressed(n, e)
    for name in ("memcom", "qr", "bch, 2 blocks"):
        found[name] = pooled(layers[name])
    return without_gradients(found)


def id_checks(n: int, e: int) -> list[Candidates]:
    """MEmCom's lookup without and with the check that every id is in range; compiled, then plain.

    ``compose`` is the lookup of ids that are known to be good; a layer's call checks them.
    """
    layer = compressed(n, e)["memcom"]

    def compose_plainly(ids: Tensor) -> object:
        with kernels.plain():
            return layer.compose(ids)

    pairs: dict[str, tuple[Candidate, Candidate]] = {
        "memcom": (layer.compose, layer),
        "memcom, plain": (compose_plainly, plainly(layer)),
    }
    return [
        without_gradients({f"{name}, no id check": bare, name: checked})
        for name, (bare, checked) in pairs.items()
    ]


def searches(n: int, e: int) -> Candidates:
    """Find the `K` best of ``n`` items; a batch is one row of ids, whose vectors are queries."""
    table, layer = nn.Embedding(n, e), compressed(n, e)["memcom"]
    return without_gradients(
        {
            "scores of all items": lambda ids: (table.weight[ids] @ table.weight.T).topk(K),
            "topk of nn.Embedding": lambda ids: topk(table.weight[ids], table.weight, K),
            "topk of memcom": lambda ids: topk(layer(ids), layer, K),
        }
    )


# --- training steps: forward, backward, update ----------------------------------------------------


def sgd_steps(n: int, e: int, largest: int) -> Candidates:
    """Steps of SGD on the rows that were read."""
    upstream = torch.randn(largest, e)
    full, sparse = nn.Embedding(n, e, sparse=True), memcom_layer(n, e)
    found = {
        f"{BASELINE}, sparse SGD": step(full, torch.optim.SGD(full.parameters(), 0.01), upstream),
        "memcom, SGD": fused_step(optim.SGD, memcom_layer(n, e), upstream),
        "memcom, SGD, sparse gradients": step(
            sparse, optim.SGD(sparse.parameters(), 0.01), upstream
        ),
    }
    table = fbgemm_table(n, e)
    if table is not None:
        offsets, layer = torch.arange(largest + 1), table

        def call(ids: Tensor) -> None:
            layer(ids, offsets[: len(ids) + 1]).backward(upstream[: len(ids)])

        found[f"{FBGEMM}, SGD"] = call
    return found


def adam_steps(n: int, e: int, largest: int) -> Candidates:
    """Steps of Adam on the rows that were read."""
    upstream = torch.randn(largest, e)
    full, sparse = nn.Embedding(n, e, sparse=True), memcom_layer(n, e)
    adam = torch.optim.SparseAdam(list(full.parameters()))
    return {
        f"{BASELINE}, SparseAdam": step(full, adam, upstream),
        "memcom, lazy Adam": fused_step(optim.LazyAdam, memcom_layer(n, e), upstream),
        "memcom, lazy Adam, sparse gradients": step(
            sparse, optim.LazyAdam(sparse.parameters()), upstream
        ),
    }


def dense_steps(n: int, e: int, largest: int) -> Candidates:
    """Steps of Adam on every row, in four times the table's memory."""
    upstream = torch.randn(largest, e)
    full, plain = nn.Embedding(n, e), memcom_layer(n, e, sparse=False)
    adams = [torch.optim.Adam(layer.parameters(), fused=True) for layer in (full, plain)]
    return {
        f"{BASELINE}, Adam(fused)": step(full, adams[0], upstream),
        "memcom, lazy Adam": fused_step(optim.LazyAdam, memcom_layer(n, e), upstream),
        "memcom, Adam(fused)": step(plain, adams[1], upstream),
    }


def step(layer: nn.Module, optimizer: torch.optim.Optimizer, upstream: Tensor) -> Candidate:
    """Return a training step: forward, backward from ``upstream``, update."""

    def call(ids: Tensor) -> None:
        optimizer.zero_grad()
        layer(ids).backward(upstream[: len(ids)])
        optimizer.step()

    return call


def fused_step(
    rule: type[optim.SGD | optim.LazyAdam], layer: nn.Module, upstream: Tensor
) -> Candidate:
    """Return a step that changes each row as soon as its gradient is summed."""
    optimizer = rule(layer.parameters())
    optimizer.fuse(layer)
    return step(layer, optimizer, upstream)
