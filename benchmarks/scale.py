"""A model whose full table would fit no ordinary machine, trained on this one.

For 10^8 ids of width 64 a full table takes 25.6 GB, and three times that again for the gradient and
Adam's two moments. MEmCom at 16x with lazy Adam takes 4.8 GB. The labels are a bit of a hash of the
id, so there is nothing to learn but the ids themselves, and the loss must fall.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.methods import RATIO
from memcom import kernels, optim
from memcom.addresses import murmur3
from memcom.budget import build
from memcom.profiling import draw_ids

LOSS_OVER = 20  # steps whose loss is averaged, at both ends


def train_large(n: int, e: int, batch: int, steps: int) -> dict[str, Any]:
    """Train an embedding and a linear layer on it, in this process.

    Args:
        n: Number of ids.
        e: Width.
        batch: Ids in a step.
        steps: Number of steps.

    Returns:
        Checkpoint bytes and those of Adam's formula, median seconds of a step, ids per second, and
        the mean loss of the first and the last steps.
    """
    kernels.warm_up()
    layer = build("memcom", n, e, ratio=RATIO, sparse=True)
    model = nn.Sequential(layer, nn.Linear(e, 1))
    optimizer = optim.LazyAdam(model.parameters(), lr=0.01)
    optimizer.fuse(model)
    rng, seed = np.random.default_rng(0), torch.tensor(1)
    times, losses = [], []
    for _ in range(steps):
        ids = draw_ids("zipf", n, batch, rng)
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
        "formula": 3 * layer.nbytes,
        "seconds": seconds,
        "ids_per_second": round(batch / seconds),
        "rounds": steps,
        "loss_first": float(np.mean(losses[:LOSS_OVER])),
        "loss_last": float(np.mean(losses[-LOSS_OVER:])),
    }
