"""The layers that every clause of the contract is held against."""

from __future__ import annotations

import functools

import pytest
import torch

import memcom

NUM_EMBEDDINGS = 501
EMBEDDING_DIM = 16
RATIO = 4

# These are built as full tables; the last two are packed, less than 4 times smaller, by `freeze`.
UNSHRUNK = ("full", "int8", "int4")

# Every registered compressor with its defaults, and the options that change how it composes.
SPECS = [
    *memcom.available(),
    "hash(seed=None)",
    "double-hash(fusion=concat)",
    "qr(operation=add)",
    "qr(operation=concat)",
    "qr(large=quotient)",
    "mixed-radix(operation=add)",
    "crt(operation=concat)",
    "bch(fusion=concat)",
    "bch(fusion=mult)",
    "bch(fusion=concat,shared=True)",
    "bch(strategy=skip)",
    "bch(shared=True)",
    "bch(hash=7)",
    "bch(hash=7,strategy=skip,shared=True)",
    "hash-embedding(num_weights=50)",
    "hash-embedding(append=True)",
    "path(hidden_dim=1)",
    "dhe(batch_norm=True)",
    "dhe(encoding=gaussian,activation=relu)",
    "dhe(widths=[64,None],batch_norm=True)",
    "dpq(batch_norm=True)",
    "dpq(form=centroid,num_codewords=16,batch_norm=True)",
    "mgqe(batch_norm=True)",
    "fiited(utility=product)",
    "robe(signs=True)",
    "pq(rotate=True)",
    "memcom(head=20,bits=8)",
    "qr(head=30)",
]

# For costly tests: one spec a class every day, the options of a class in continuous integration.
COSTLY = [
    pytest.param(spec, marks=[pytest.mark.ci] if "(" in spec and "bits" not in spec else [])
    for spec in SPECS
]


@functools.cache
def planned(spec: str, n: int, e: int, ratio: float, dtype: torch.dtype | None) -> memcom.Plan:
    """The plan of a spec at a ratio; those of `UNSHRUNK` have one size."""
    name, options = memcom.parse_spec(spec)
    options |= {} if dtype is None else {"dtype": dtype}
    return memcom.plan(name, n, e, ratio=None if name in UNSHRUNK else ratio, **options)


def make(
    spec: str,
    *,
    n: int = NUM_EMBEDDINGS,
    e: int = EMBEDDING_DIM,
    ratio: float = RATIO,
    seed: int = 0,
    **common,
) -> memcom.CompressedEmbedding:
    """The layer of a spec at a quarter of the full table's bytes, drawn from a fixed seed."""
    plan = planned(spec, n, e, ratio, common.get("dtype"))
    torch.manual_seed(seed)
    return plan.build(**common).eval()


def some_ids(*shape: int, n: int = NUM_EMBEDDINGS, dtype=torch.int64) -> torch.Tensor:
    """Ids with repeats, both ends of the range among them where there is room."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(n, shape, generator=generator, dtype=dtype)
    if ids.numel() >= 2:
        ids.view(-1)[0], ids.view(-1)[-1] = 0, n - 1
    return ids


def structured_table(n: int, e: int, rank: int, seed: int = 0) -> torch.Tensor:
    """A table with some structure, as training gives it: a few directions, and noise."""
    g = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, rank, generator=g) @ torch.randn(rank, e, generator=g)
    return signal + 0.3 * torch.randn(n, e, generator=g)
