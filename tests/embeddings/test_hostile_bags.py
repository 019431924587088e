"""Hostile bags: `memcom.EmbeddingBag` against `torch.nn.EmbeddingBag` over the materialised table.

Where torch returns numbers, so do we, and the same; where torch refuses, so do we. Offsets that do
not rise are refused by us alone, since torch reads memory that is not its own.
"""

from __future__ import annotations

import contextlib
import math
import random

import pytest
import torch

import memcom
from memcom import kernels
from tests.embeddings.cases import NUM_EMBEDDINGS, make

WEIGHTS = [1.0, -2.0, 0.0, math.inf, -math.inf, math.nan]
DTYPES = [torch.int64, torch.int32, torch.uint8, torch.float32]


def hostile(draw: random.Random):
    """One bag: ids, offsets (or None) and weights per sample (or None)."""
    if draw.random() < 0.3:
        shape: tuple[int, ...] = (draw.randrange(4), draw.randrange(5))
    else:
        shape = (draw.choice([0, 1, 3, 8, 700]),)
    if draw.random() < 0.03:
        shape = (2, 2, 2)
    count = math.prod(shape)
    ids = torch.tensor([draw.choice([3, 3, draw.randrange(NUM_EMBEDDINGS)]) for _ in range(count)])
    ids = ids.long().view(shape).to(draw.choice([torch.int64, torch.int32]))
    offsets = None
    if draw.random() < (0.95 if ids.ndim == 1 else 0.05):
        places = sorted(draw.randrange(count + 1) for _ in range(draw.randrange(6)))
        places = [0, *places]
        kind = draw.randrange(12)
        if kind == 0:
            places[0] = draw.choice([1, 2])
        elif kind == 1:
            places[-1] = count + draw.choice([1, 2**31])
        elif kind == 2:
            draw.shuffle(places)
        elif kind == 3:
            places = []
        dtype = draw.choices(DTYPES, [6, 3, 2, 1])[0]
        offsets = torch.tensor([p % 256 if dtype is torch.uint8 else p for p in places])
        offsets = offsets.to(torch.int64).to(dtype if max([0, *places]) < 2**31 else torch.int64)
    weights = None
    if draw.random() < 0.5:
        size = shape if draw.random() < 0.7 else draw.choice([(count,), shape[::-1], (count + 1,)])
        weights = torch.tensor([draw.choice(WEIGHTS) for _ in range(math.prod(size))]).view(size)
        weights = weights.to(draw.choice([torch.float32] * 5 + [torch.float64]))
    return ids, offsets, weights


def outcome(bag, ids, offsets, weights):
    try:
        return bag(ids, offsets, weights)
    except (ValueError, RuntimeError, TypeError, NotImplementedError) as error:
        return error


def rises(offsets, count):
    values = [0, *offsets.tolist(), count]
    return offsets.numel() == 0 or (values == sorted(values) and values[1] == 0)


@pytest.mark.parametrize(
    "spec", ["memcom-bias", "qr", "hash", "memcom(bits=3)", "robe(bits=2)", "jagged"]
)
@pytest.mark.parametrize("context", [contextlib.nullcontext, kernels.plain])
def test_hostile_bags_mean_what_they_mean_in_torch(spec, context):
    kernels.warm_up()
    draw, refused, compared = random.Random(f"{spec} {context}"), 0, 0
    for _ in range(250):
        layer = make(spec, padding_idx=draw.choice([None, 3]))
        layer.requires_grad_("(" not in spec and spec != "jagged")  # so that its bags are fused
        mode, last = draw.choice(["sum", "sum", "mean", "max"]), draw.random() < 0.3
        case = hostile(draw)
        ids, offsets, _ = case
        if ids.ndim == 2 and not ids.shape[1]:
            continue  # torch refuses bags of no ids
        with context():
            got = outcome(memcom.EmbeddingBag(layer, mode, include_last_offset=last), *case)
        if offsets is not None and ids.ndim == 1 and not rises(offsets, ids.numel()):
            assert isinstance(got, ValueError | TypeError), (case, got)
            refused += 1
            continue
        if offsets is not None and ids.ndim == 1 and len(offsets) <= last:
            if isinstance(got, Exception):  # torch may crash here
                assert len(offsets) < last or offsets.dtype is torch.float32
            else:
                assert got.shape == (0, layer.embedding_dim)
            continue
        theirs = torch.nn.EmbeddingBag.from_pretrained(
            layer.materialize(), mode=mode, padding_idx=layer.padding_idx, include_last_offset=last
        )
        want = outcome(theirs, *case)
        if isinstance(want, Exception):
            assert isinstance(got, Exception), (mode, last, case, want, got)
            refused += 1
        else:
            assert not isinstance(got, Exception), (mode, last, case, want, got)
            torch.testing.assert_close(got, want, equal_nan=True, rtol=1e-4, atol=1e-4)
            compared += 1
    assert min(refused, compared) > 30
