"""The gate between tensors and compiled kernels.

Compiled kernels get raw addresses and check nothing. `address` is the only function of
`memcom.kernels` that makes an address of a tensor it is given, so its checks hold for every kernel;
`allocate` returns a new tensor with its address.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CPU = torch.device("cpu")
_int32, _int64 = torch.int32, torch.int64
_FLOATS = torch.empty(0, dtype=torch.float32, device=CPU)


def flaw(tensor: Tensor, dtypes: tuple[torch.dtype, ...], device: torch.device = CPU) -> str:
    """Return why kernels cannot read a tensor, or ``""`` if they can.

    Args:
        tensor: A table, its seed, an optimizer's state, ...
        dtypes: The dtypes that are fine.
        device: Where it has to be.

    Returns:
        The end of a sentence that starts with the tensor's name: ``"is on meta, not on the CPU"``.
    """
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"is a {type(tensor).__name__}, not a plain tensor"
    if tensor.device != device:
        return f"is on {tensor.device}, not on {'the CPU' if device == CPU else device}"
    if tensor.dtype not in dtypes:
        return f"is {tensor.dtype}, not {' or '.join(map(str, dtypes))}"
    if not tensor.is_contiguous():
        return "is not contiguous"
    return ""


def address(tensor: Tensor, dtype: torch.dtype) -> int:
    """Return the memory address of a contiguous tensor on the CPU.

    Args:
        tensor: Kept alive, and where it is, by the caller.
        dtype: What the kernel reads or writes.

    Returns:
        The address of its first number.

    Raises:
        TypeError: The tensor is not what the kernel takes; the message says why.
    """
    if tensor.dtype is not dtype or not tensor.is_cpu or not tensor.is_contiguous():
        raise TypeError(f"a tensor for the kernels {flaw(tensor, (dtype,))}")
    return tensor.data_ptr()


def pass_ids(ids: Tensor) -> tuple[Tensor, int, int]:
    """Return int32 or int64 ids as a contiguous tensor, its address, and the bytes of an id."""
    dtype = ids.dtype
    if (dtype is not _int64 and dtype is not _int32) or not ids.is_cpu:
        raise TypeError(f"ids for the kernels {flaw(ids, (_int64, _int32))}")
    if not ids.is_contiguous():
        ids = ids.contiguous()
    return ids, ids.data_ptr(), 8 if dtype is _int64 else 4


def allocate(*shape: int) -> tuple[Tensor, int]:
    """Return an uninitialised float32 tensor on the CPU, and its address."""
    tensor = _FLOATS.new_empty(*shape)  # torch takes a third longer for a shape in one tuple
    return tensor, tensor.data_ptr()


fingerprint: Callable[[Tensor], int] = Tensor.data_ptr
"""Return a number that changes when the tensor's memory moves."""


def same_storage(one: Tensor, other: Tensor) -> bool:
    """Return True if two tensors share their memory, as a view and its base do."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
