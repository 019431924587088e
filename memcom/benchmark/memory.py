"""What training a table really allocates, measured in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import NamedTuple

import torch
from torch import nn

from memcom import kernels, optim
from memcom.benchmark.methods import RATIO, draw_ids
from memcom.embeddings import MEmComEmbedding

STEPS = 3
# Copies of the parameters that an optimizer holds at its peak: weights, gradient, moments.
COPIES = {"Adam(fused)": 4, "lazy Adam": 3}
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class Memory(NamedTuple):
    """Bytes of training a table.

    Attributes:
        checkpoint: The layer's parameters and buffers.
        formula: Parameters times what the optimizer keeps of them.
        resident: Growth of the process's peak resident memory.
    """

    checkpoint: int
    formula: int
    resident: int


def measure(method: str, num_embeddings: int, embedding_dim: int, batch: int) -> Memory:
    """Train for some steps in a fresh process.

    Args:
        method: ``"nn.Embedding, Adam(fused)"`` or ``"memcom, lazy Adam"``.
        num_embeddings: Number of ids.
        embedding_dim: Width.
        batch: Ids in a step.

    Returns:
        What it took.
    """
    command = [sys.executable, "-m", "memcom.benchmark.child", "memory", method]
    numbers = map(str, (num_embeddings, embedding_dim, batch))
    done = subprocess.run([*command, *numbers], check=True, capture_output=True, text=True)
    return Memory(*json.loads(done.stdout.splitlines()[-1]))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def train(method: str, n: int, e: int, batch: int) -> Memory:
    """What `measure` does, in this process."""
    ids, upstream = draw_ids("uniform", n, batch * STEPS).view(STEPS, batch), torch.randn(batch, e)
    kernels.warm_up()
    before = _peak()
    layer: nn.Module
    optimizer: torch.optim.Optimizer
    if method.startswith("memcom"):
        layer = MEmComEmbedding(n, e, num_buckets=max(1, n // RATIO), sparse=True)
        lazy = optim.LazyAdam(layer.parameters())
        lazy.fuse(layer)
        optimizer = lazy
    else:
        layer = nn.Embedding(n, e)
        optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    for some in ids:
        optimizer.zero_grad()
        layer(some).backward(upstream)
        optimizer.step()
    size = sum(p.numel() * p.element_size() for p in layer.parameters())
    return Memory(size, size * COPIES[method.split(", ")[1]], _peak() - before)
