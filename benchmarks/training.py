"""Peak memory of training a table, and the training of a model whose full table would not fit.

For 10^8 ids of width 64 a full table takes 25.6 GB, and three times that again for the gradient and
Adam's two moments. MEmCom at 16x with lazy Adam takes 4.8 GB. The labels are a bit of a hash of the
id, so there is nothing to learn but the ids themselves, and the loss must fall.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.candidates import BASELINE, RATIO, memcom_layer
from memcom import kernels, optim, profiling
from memcom.addresses import murmur3
from memcom.budget import build

STEPS = 3
OPTIMIZERS = {f"{BASELINE}, Adam(fused)": "adam", "memcom, lazy Adam": "lazy-adam"}
"""Method whose peak memory is measured -> optimizer that `profiling.training_memory` knows."""

_ROOT = Path(__file__).resolve().parents[1]
_AVERAGED = 20  # steps at both ends whose loss is averaged


def formula(method: str, n: int, e: int) -> int:
    """Return the bytes of weights, gradients and moments."""
    with torch.device("meta"):
        return profiling.training_memory(_layer(method, n, e), OPTIMIZERS[method]).total


def peak_memory(method: str, n: int, e: int, batch: int) -> dict[str, int]:
    """Train for some steps twice: under torch's allocator, and in a fresh process."""
    run, layers = prepare(method, n, e, batch), []
    allocated = profiling.allocated(lambda: layers.append(run())).peak
    checkpoint = sum(profiling.nbytes_by_tensor(layers.pop()).values())
    setup = (
        f"import sys; sys.path.insert(0, {str(_ROOT)!r})\n"
        f"from benchmarks.training import prepare\nrun = prepare{(method, n, e, batch)!r}"
    )
    return {
        "checkpoint": checkpoint,
        "formula": formula(method, n, e),
        "allocated": allocated,
        "resident": profiling.resident("kept = run()", setup=setup).growth,
    }


def prepare(method: str, n: int, e: int, batch: int) -> Callable[[], nn.Module]:
    """Draw ids and load what is needed; the function returned builds the layer and trains it."""
    ids = profiling.draw_ids("uniform", n, batch * STEPS).view(STEPS, batch)
    upstream = torch.randn(batch, e)
    kernels.warm_up()
    _train(method, _layer(method, 100, e), ids[:, :1] % 100, upstream[:1])  # loads torch's code
    return lambda: _train(method, _layer(method, n, e), ids, upstream)


def _layer(method: str, n: int, e: int) -> nn.Module:
    return memcom_layer(n, e) if OPTIMIZERS[method] == "lazy-adam" else nn.Embedding(n, e)


def _train(method: str, layer: nn.Module, batches: Tensor, upstream: Tensor) -> nn.Module:
    optimizer: torch.optim.Optimizer
    if OPTIMIZERS[method] == "lazy-adam":
        optimizer = lazy = optim.LazyAdam(layer.parameters())
        lazy.fuse(layer)
    else:
        optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    for ids in batches:
        optimizer.zero_grad()
        layer(ids).backward(upstream)
        optimizer.step()
    return layer


def train_large(n: int, e: int, batch: int, steps: int) -> dict[str, Any]:
    """Train an embedding and a linear layer on it, and return what this process took.

    Checkpoint bytes and those of Adam's formula, median seconds of a step, ids per second, mean
    loss of the first and the last steps, peak resident bytes.
    """
    kernels.warm_up()
    layer = build("memcom", n, e, ratio=RATIO, sparse=True)
    model = nn.Sequential(layer, nn.Linear(e, 1))
    optimizer = optim.LazyAdam(model.parameters(), lr=0.01)
    optimizer.fuse(model)
    rng, seed = np.random.default_rng(0), torch.tensor(1)
    times, losses = [], []
    for _ in range(steps):
        ids = profiling.draw_ids("zipf", n, batch, rng)
        labels = (murmur3(ids, seed) & 1).float()
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(ids).squeeze(-1), labels)
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
        losses.append(loss.item())
    seconds = float(np.median(times))
    return {
        "checkpoint": layer.nbytes,
        "formula": profiling.training_memory(layer, "lazy-adam").total,
        "seconds": seconds,
        "ids_per_second": round(batch / seconds),
        "rounds": steps,
        "loss_first": float(np.mean(losses[:_AVERAGED])),
        "loss_last": float(np.mean(losses[-_AVERAGED:])),
        "resident": profiling.peak_rss_bytes(),
    }
