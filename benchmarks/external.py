"""Another project's table, timed where it is installed; nothing here needs it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

FBGEMM = "FBGEMM's table"


@functools.cache
def _fbgemm() -> SimpleNamespace | None:
    """What is used of FBGEMM; None where it is not installed, or was built for another torch."""
    found = SimpleNamespace()
    try:
        for name in ("split_embedding_configs", "split_table_batched_embeddings_ops_training"):
            found.__dict__.update(vars(importlib.import_module(f"fbgemm_gpu.{name}")))
    except (ImportError, OSError):
        return None
    return found


def fbgemm_table(n: int, e: int) -> Callable[[Tensor, Tensor], Tensor] | None:
    """FBGEMM's full table on the CPU, which changes its rows by SGD during the backward pass.

    It is no dependency, not even an optional one: of the wheels on the index only
    ``fbgemm-gpu-cpu==1.8.0`` loads beside the torch that this kit is tested with.

    Args:
        n: Number of ids.
        e: Width.

    Returns:
        A function of int64 ids and of the offsets of bags, which it sums; None where there is none.
    """
    fbgemm = _fbgemm()
    if fbgemm is None:
        return None
    table: Callable[[Tensor, Tensor], Tensor] = fbgemm.SplitTableBatchedEmbeddingBagsCodegen(
        [(n, e, fbgemm.EmbeddingLocation.HOST, fbgemm.ComputeDevice.CPU)],
        optimizer=fbgemm.EmbOptimType.EXACT_SGD,
        learning_rate=0.01,
    )
    for weight in table.split_embedding_weights():  # type: ignore[attr-defined]
        torch.nn.init.normal_(weight)  # or all pages are the one page of zeros
    return table
