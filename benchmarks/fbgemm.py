"""FBGEMM's tables on the CPU, baselines where the package is installed; nothing here needs it.

It is no dependency, not even an optional one: only ``fbgemm-gpu-cpu==1.8.0`` loads beside the torch
that this kit is tested with.
"""

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
    """FBGEMM's names; None where it is not installed, or was built for another torch."""
    found = SimpleNamespace()
    try:
        for name in (
            "split_embedding_configs",
            "split_table_batched_embeddings_ops_training",
            "split_table_batched_embeddings_ops_inference",
        ):
            found.__dict__.update(vars(importlib.import_module(f"fbgemm_gpu.{name}")))
    except (ImportError, OSError):
        return None
    return found


def fbgemm_table(n: int, e: int) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Build a table that sums bags and takes an SGD step during the backward pass.

    Returns a function of int64 ids and of the offsets of bags; None where there is no FBGEMM.
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


def fbgemm_packed(n: int, e: int, bits: int) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Build a table of 8 or 4 bits a number, filled at random, that sums bags to fp32.

    Returns a function of int64 ids and of the offsets of bags; None where there is no FBGEMM.
    """
    fbgemm = _fbgemm()
    if fbgemm is None:
        return None
    kind = {8: fbgemm.SparseType.INT8, 4: fbgemm.SparseType.INT4}[bits]
    table: Callable[[Tensor, Tensor], Tensor] = fbgemm.IntNBitTableBatchedEmbeddingBagsCodegen(
        [("", n, e, kind, fbgemm.EmbeddingLocation.HOST)],
        device="cpu",
        output_dtype=fbgemm.SparseType.FP32,
    )
    table.fill_random_weights()  # type: ignore[attr-defined]
    return table
