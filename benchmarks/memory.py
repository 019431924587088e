"""What training a table really allocates, measured in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.methods import BASELINE
from benchmarks.steps import memcom_layer
from memcom import kernels, optim, profiling

STEPS = 3
METHODS = (f"{BASELINE}, Adam(fused)", "memcom, lazy Adam")
# Copies of the parameters that an optimizer holds at its peak: weights, gradient, moments.
COPIES = {"Adam(fused)": 4, "lazy Adam": 3}
SPARE = 2 * 2**30  # bytes to be left to others


class Memory(NamedTuple):
    """Bytes of training a table.

    Attributes:
        checkpoint: The layer's parameters and buffers.
        formula: Parameters times what the optimizer keeps of them.
        allocated: Most that torch's allocator had handed out at once.
        resident: Growth of the process's peak resident memory.
    """

    checkpoint: int
    formula: int
    allocated: int
    resident: int


def measure(method: str, num_embeddings: int, embedding_dim: int, batch: int) -> Memory:
    """Train for some steps in two fresh processes, one for each way of measuring.

    Args:
        method: One of `METHODS`.
        num_embeddings: Number of ids.
        embedding_dim: Width.
        batch: Ids in a step.

    Returns:
        What it took.
    """
    size = num_embeddings, embedding_dim, batch
    prepared = f"from benchmarks.memory import prepare\nrun = prepare{(method, *size)!r}"
    growth = profiling.resident("kept = run()", setup=prepared).growth
    command = [sys.executable, "-m", "benchmarks.child", "memory", method, *map(str, size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    checkpoint, allocated = json.loads(done.stdout.splitlines()[-1])
    return Memory(checkpoint, formula(method, num_embeddings, embedding_dim), allocated, growth)


def formula(method: str, num_embeddings: int, embedding_dim: int) -> int:
    """Bytes of the parameters, times the copies that the optimizer keeps."""
    with torch.device("meta"):
        parameters = list(_layer(method, num_embeddings, embedding_dim).parameters())
    size = sum(p.numel() * p.element_size() for p in parameters)
    return size * COPIES[method.split(", ")[1]]


def prepare(method: str, n: int, e: int, batch: int) -> Callable[[], nn.Module]:
    """Draw ids and load what is needed; the function returned builds the layer and trains it."""
    ids, upstream = (
        profiling.draw_ids("uniform", n, batch * STEPS).view(STEPS, batch),
        torch.randn(batch, e),
    )
    kernels.warm_up()
    _train(method, _layer(method, 100, e), ids[:, :1] % 100, upstream[:1])  # loads torch's code
    return lambda: _train(method, _layer(method, n, e), ids, upstream)


def _train(method: str, layer: nn.Module, batches: Tensor, upstream: Tensor) -> nn.Module:
    optimizer: torch.optim.Optimizer
    if method.startswith("memcom"):
        lazy = optim.LazyAdam(layer.parameters())
        lazy.fuse(layer)
        optimizer = lazy
    else:
        optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    for ids in batches:
        optimizer.zero_grad()
        layer(ids).backward(upstream)
        optimizer.step()
    return layer


def allocate(method: str, n: int, e: int, batch: int) -> tuple[int, int]:
    """Checkpoint bytes, and the peak of torch's allocator while a layer is built and trained."""
    run, layers = prepare(method, n, e, batch), []
    peak = profiling.allocated(lambda: layers.append(run())).peak
    return sum(profiling.nbytes_by_tensor(layers[0]).values()), peak


def available() -> float:
    """Bytes that this machine could give now; infinite where it does not say."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return float("inf")
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return float(lines["MemAvailable"].split()[0]) * 1024


def _layer(method: str, n: int, e: int) -> nn.Module:
    return memcom_layer(n, e) if method.startswith("memcom") else nn.Embedding(n, e)
