"""The Triton kernels on tensors: outputs, gradients and autograd; and the switch that allows them.

A forward pass is one launch, where the plain lookup takes about ten; a dense backward pass is one
launch and the filling with zeros. A reading without gradients is one launch too. Checked in
Triton's interpreter, and compiled for sm_80 and sm_90; never run or timed on a GPU.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from memcom.addresses import Digit
from memcom.kernels.gpu.lines import GpuAssembly
from memcom.kernels.plain import differentiable_gradients
from memcom.kernels.program import (
    PADDING,
    WIDTH,
    GpuProgram,
    bind_for_gpu,
    layout,
)
from memcom.kernels.recipe import Read, Recipe

HAVE_TRITON = importlib.util.find_spec("triton") is not None  # comes with torch for CUDA
# Assertions are on, but not those that would take the wrapping products of a hash for overflows.
OPTIONS = {"num_warps": 4, "debug": True, "sanitize_overflow": False, "enable_fp_fusion": True}


def unsupported_on_gpu(device: torch.device, sparse: bool) -> str:
    """Return why Triton cannot look up rows on a GPU in torch's present state, or ``""``."""
    if not HAVE_TRITON:
        return "triton is not installed"
    if not sparse and torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled():
        return "deterministic algorithms are asked for, and sums by atomic operations are not"
    return triton_error(device)


@functools.cache
def triton_error(device: torch.device) -> str:
    """Test Triton on a device by a lookup of one id; return its error, or ``""``."""
    try:
        table = torch.ones((1, 1), dtype=torch.float32, device=device)
        ids = torch.zeros(1, dtype=torch.int64, device=device)
        forward(ids, bind_for_gpu(layout(Recipe((Read("table", table, Digit(1)),)))))
    except Exception as error:  # no compiler, no driver, too old a GPU: they share no other type
        return f"triton does not work here: {type(error).__name__}: {error}".partition("\n")[0]
    return ""


def lookup_on_gpu(program: GpuProgram, recipe: Recipe, sparse: bool, ids: Tensor) -> Tensor:
    """Look up int32 or int64 ``ids`` of any shape, with gradients if they are wanted.

    The ``recipe`` is for second derivatives.
    """
    ids = ids.contiguous()
    if torch.is_grad_enabled() and any(table.requires_grad for table in program.tables):
        vectors: Tensor = GpuLookup.apply(ids, program, recipe, sparse, *program.tables)
        return vectors
    return forward(ids, program)


def forward(ids: Tensor, program: GpuProgram) -> Tensor:
    """Look up contiguous ``ids``: ``(*ids.shape, width)`` in the tables' dtype."""
    first, shape = program.tables[0], (*ids.shape, program.head[WIDTH])
    out = torch.empty(shape, dtype=first.dtype, device=first.device)
    _launch("forward", program, ids, out)
    return out


def gradients(
    ids: Tensor, program: GpuProgram, grad: Tensor, needed: Sequence[bool], sparse: bool
) -> list[Tensor | None]:
    """Compute the gradients of the program's tables that are ``needed``, summed in float32.

    A dense gradient is summed by atomic operations, so its last bits depend on their order; a
    sparse one is sorted and summed by torch, always alike.
    """
    count, grad = ids.numel(), grad.contiguous()
    targets, lines = [], []
    for table, reads, need in zip(program.tables, program.reads, needed, strict=True):
        shape = (reads * count, table.shape[1]) if sparse else table.shape
        kind = torch.empty if sparse else torch.zeros
        target = kind(shape if need else (1, 1), dtype=torch.float32, device=table.device)
        targets.append(target)
        size = reads * count if sparse and need else 1
        lines.append(torch.empty(size, dtype=torch.int64, device=table.device))
    flags = tuple(bool(need) for need in needed), bool(sparse)
    _launch("backward", program, ids, grad, tuple(targets), tuple(lines), flags=flags)
    found: list[Tensor | None] = []
    for table, target, line, need in zip(program.tables, targets, lines, needed, strict=True):
        if need and sparse:
            shape = table.shape
            listed = torch.sparse_coo_tensor(line[None], target, shape, check_invariants=False)
            found.append(listed.coalesce().to(table.dtype))
        else:
            found.append(target.to(table.dtype) if need else None)
    return found


def _launch(name: str, program: GpuProgram, ids: Tensor, *arguments: Any, flags: Any = ()) -> None:
    """Run the kernel of a name on blocks of ids, on the ids' device."""
    from memcom.kernels.gpu import kernels

    constants = program.head, program.entries, *flags, program.block, program.columns
    arguments = ids, program.sources, *arguments, ids.numel(), *constants
    _run(getattr(kernels, name), program.block, *arguments)


def _run(kernel: Any, block: int, ids: Tensor, *arguments: Any) -> None:
    count = ids.numel()
    if count:
        with torch.cuda.device_of(ids):
            kernel[(-(-count // block),)](ids, *arguments, **OPTIONS)


class GpuLookup(torch.autograd.Function):
    """`forward`, with `gradients`; second derivatives are those of the plain lookup."""

    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, program: GpuProgram, recipe: Recipe, sparse: bool, *tables: Tensor
    ) -> Tensor:
        """Look up ``ids``; ``tables`` are ``program.tables``, listed for autograd."""
        ctx.save_for_backward(ids, *tables)
        ctx.lookup = program, recipe, sparse
        return forward(ids, program)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute gradients of the tables."""
        ids = ctx.saved_tensors[0]
        program, recipe, sparse = ctx.lookup
        needed = ctx.needs_input_grad[4:]
        if torch.is_grad_enabled():
            padding, tables = program.head[PADDING], program.tables
            found = differentiable_gradients(ids, recipe, padding, tables, needed, grad)
        else:
            found = gradients(ids, program, grad, needed, sparse)
        return (None, None, None, None, *found)


def assembled_on_gpu(program: GpuAssembly, ids: Tensor) -> Tensor:
    """Look up int32 or int64 ``ids`` of any shape, without gradients."""
    from memcom.kernels.gpu import assemble

    ids = ids.contiguous()
    shape, kind = (*ids.shape, program.width), torch.empty if program.is_filled else torch.zeros
    out = kind(shape, dtype=program.dtype, device=ids.device)
    constants = program.lines, program.block, program.columns
    arguments = ids, program.sources, program.code, out, ids.numel(), *constants
    _run(assemble.assemble, program.block, *arguments)
    return out
