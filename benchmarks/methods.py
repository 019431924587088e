"""Every method as it is shipped, beside `nn.Embedding` and what other packages offer.

A layer that training would shape for minutes, or that takes as long to encode, is drawn instead: it
has the bytes and the kind of rows that `freeze` leaves, with codes, places or widths at random. The
name of its row says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.candidates import BASELINE, RATIO, Candidates, step, without_gradients
from benchmarks.fbgemm import fbgemm_packed
from benchmarks.targets import MULTIPLIED, PACKED, PACKED_BITS, STEP_PRODUCTS, STEPPED
from memcom import optim
from memcom.budget import BudgetError, build
from memcom.embeddings import (
    CompressedEmbedding,
    DHEmbedding,
    DPQEmbedding,
    MappedEmbedding,
    available,
)
from memcom.profiling.timing import Candidate

PRODUCTS = "its matrix products"
HEAD = 1000  # ids with rows of their own
SMALLER = ("dhe", "tt", "path")  # with a tenth of the ids: they compute more than they read
DRAWN = {  # in place of training -> what is at random
    "dpq": "random codes",
    "mgqe": "random codes",
    "pep": "random places",
    "fiited": "random places",
    "amtl": "widths by a power law",
    "scall": "widths by a power law",
}


def shipped(
    n: int, e: int, only: Collection[str] | None = None
) -> Iterator[tuple[str, CompressedEmbedding]]:
    """Yield every compressor at 16x, or as small as it can be, frozen; then what goes with them.

    That is packed rows of 2 to 16 bits, private rows for the first ids, and a stored map.
    ``only`` names the compressors to yield, without these.
    """
    for name in available() if only is None else only:
        size = n // 10 if name in SMALLER else n
        layer = at_16(name, size, e, device="meta" if name in DRAWN else None)
        if layer is not None and name in DRAWN:
            yield f"{name}, {DRAWN[name]}", drawn(layer.freeze()).eval()
        elif layer is not None and name != "full":
            yield name, layer.freeze().eval()
    if only is not None:
        return
    for name, bits in product(PACKED, PACKED_BITS):
        yield f"{name}, {bits} bits", build(name, n, e, bits=bits, **sizes(name, n)).freeze().eval()
    head = min(HEAD, n // RATIO)
    yield "memcom, head", build("memcom", n, e, head=head, **sizes("memcom", n)).freeze().eval()
    inner = build("memcom", -(-n // 4), e, **sizes("memcom", n))
    rows = torch.randint(inner.num_embeddings, (n,))
    yield "memcom, mapped", MappedEmbedding(inner, rows).eval()


def sizes(name: str, n: int) -> dict[str, Any]:
    """Return the arguments with which a method of shared rows has 1/16 of them."""
    rows = -(-n // RATIO)
    found: dict[str, dict[str, Any]] = {
        "qr": {"num_collisions": RATIO},
        "memcom": {"num_buckets": rows},
        "hash": {"num_buckets": rows},
        "mixed-radix": {"radices": [rows, RATIO]},
    }
    return found[name]


def drawn(layer: CompressedEmbedding) -> CompressedEmbedding:
    """Give a layer from the meta device memory, and draw what it holds."""
    layer = layer.to_empty(device="cpu")
    layer.reset_parameters()
    return layer


def at_16(name: str, n: int, e: int, **common: Any) -> CompressedEmbedding | None:
    """Build a compressor at 16x, or as small as it can be; None if that is not small at all."""
    for ratio in (RATIO, RATIO / 2, RATIO / 4, RATIO / 8, 1.5):
        try:
            return build(name, n, e, ratio=ratio, **common)
        except BudgetError:
            continue
    return None


def peers(name: str, n: int, e: int, largest: int) -> Candidates:
    """Return what torch and FBGEMM offer in the place of int8 and int4: sums of bags of one id."""
    bits = {"int8": 8, "int4": 4}.get(name)
    if bits is None:
        return {}
    packed, offsets = torch_packed(n, e, bits), torch.arange(largest + 1)
    found: Candidates = {}
    if packed is not None:
        found[f"torch, {bits} bits, bags of 1"] = lambda ids: packed(ids, offsets[: len(ids)])
    fbgemm = fbgemm_packed(n, e, bits)
    if fbgemm is not None:
        found[f"FBGEMM, {bits} bits, bags of 1"] = lambda ids: fbgemm(ids, offsets[: len(ids) + 1])
    return without_gradients(found)


def torch_packed(n: int, e: int, bits: int) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Build torch's own table of 8 or 4 bits a number.

    Returns a function of int64 ids and of the starts of bags; None where this torch has no such
    operators.
    """
    name = {8: "byte", 4: "4bit"}[bits]
    try:
        prepack = getattr(torch.ops.quantized, f"embedding_bag_{name}_prepack")
        lookup = getattr(torch.ops.quantized, f"embedding_bag_{name}_rowwise_offsets")
        packed = prepack(torch.randn(n, e))
    except (AttributeError, RuntimeError):
        return None
    return lambda ids, starts: lookup(packed, ids, starts)


def beside_products(layer: DHEmbedding, largest: int) -> Candidates:
    """Return a deep hash embedding's lookup beside the products of its matrices alone.

    A batch is a pair: ids, and how many different ones there are; as many rows are multiplied.
    """
    numbers = torch.randn(largest, layer.widths[0])
    matrices = [weight.detach().T for weight in layer.weights]

    def products(batch: tuple[Tensor, int]) -> Tensor:
        x = numbers[: batch[1]]
        for matrix in matrices:
            x = x @ matrix
        return x

    return without_gradients({PRODUCTS: products, "dhe": lambda batch: layer(batch[0])})


def method_steps(n: int, e: int, largest: int) -> Iterator[Candidates]:
    """Yield SGD steps of methods that do more than add or multiply rows.

    Each stands beside the full table's step on the rows that were read.
    """
    upstream = torch.randn(largest, e)
    for name in STEPPED:
        full, layer = nn.Embedding(n, e, sparse=True), at_16(name, n, e, sparse=True)
        if layer is None:
            continue
        yield {
            f"{BASELINE}, sparse SGD": step(
                full, torch.optim.SGD(full.parameters(), 0.01), upstream
            ),
            f"{name}, SGD": step(layer, optim.SGD(layer.parameters()), upstream),
        }


def steps_beside_products(n: int, e: int, largest: int) -> Iterator[Candidates]:
    """Yield SGD steps beside the matrix products alone that forward and backward pass need.

    A batch is a pair: ids, and how many different ones there are.
    """
    upstream = torch.randn(largest, e)
    for name in MULTIPLIED:
        layer = at_16(name, n, e, sparse=True)
        if layer is None:
            continue
        products: Callable[[int], list[Tensor]]
        if isinstance(layer, DPQEmbedding):
            products = codeword_products(layer, largest)
        else:
            assert isinstance(layer, DHEmbedding)
            products = network_products(layer, largest)
        own = step(layer, optim.SGD(layer.parameters()), upstream)
        yield {
            STEP_PRODUCTS: _of_part(products, 1),
            f"{name}, SGD": _of_part(own, 0),
        }


def _of_part(call: Callable[[Any], object], part: int) -> Candidate:
    """Call with one part of a batch."""
    return lambda batch: call(batch[part])


def network_products(layer: DHEmbedding, largest: int) -> Callable[[int], list[Tensor]]:
    """Return the products of a network's step: vectors, then gradients of weights, last first."""
    numbers = torch.randn(largest, layer.widths[0])
    upstream = torch.randn(largest, layer.embedding_dim)
    weights = [weight.detach() for weight in layer.weights]

    def products(count: int) -> list[Tensor]:
        inputs, gradient = [numbers[:count]], upstream[:count]
        for weight in weights:
            inputs.append(inputs[-1] @ weight.T)
        found = [inputs.pop()]
        while inputs:
            found.append(gradient.T @ inputs.pop())
            if inputs:
                gradient = gradient @ weights[len(inputs)]
        return found

    return products


def codeword_products(layer: DPQEmbedding, largest: int) -> Callable[[int], list[Tensor]]:
    """Return the products of DPQ's step, group by group.

    They are the scores, the gradients of the softmax, and those of queries and of keys.
    """
    groups, width = layer.num_groups, layer.embedding_dim // layer.num_groups
    queries, upstream = torch.randn(2, groups, largest, width)
    keys, values = torch.randn(2, groups, layer.num_codewords, width)

    def products(count: int) -> list[Tensor]:
        query, gradient = queries[:, :count], upstream[:, :count]
        scores, slopes = query @ keys.mT, gradient @ values.mT
        return [scores, slopes, slopes @ keys, slopes.mT @ query]

    return products
