"""The gate between tensors and compiled kernels.

Compiled kernels get raw addresses and check nothing. `address` is the only function of
`memcom.kernels` that makes an address of a tensor it is given, so its checks hold for every kernel;
`allocate` returns a new tensor with its address.
"""

from __future__ import annotations

import torch
from torch import Tensor

CPU = torch.device("cpu")
_int32, _int64 = torch.int32, torch.int64
_FLOATS = torch.empty(0, dtype=torch.float32, device=CPU)
_new_floats = _FLOATS.new_empty


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
    if torch.compiler.is_compiling():  # the operator of the graph asks again when it runs
        return ""
    if tensor.is_neg():
        return "is lazily negated"
    if not has_memory(tensor):
        return f"has {tensor.untyped_storage().nbytes()} bytes left for shape {list(tensor.shape)}"
    return ""


def has_memory(tensor: Tensor) -> bool:
    """Return True if the storage still holds every number: it can be resized under a tensor."""
    numbers = tensor.numel()
    if not tensor.is_contiguous() and numbers:
        numbers = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + numbers) * tensor.element_size()
    return numbers == 0 or tensor.untyped_storage().nbytes() >= needed


def require_memory(table: Tensor) -> None:
    """Raise RuntimeError if memory that a forward pass read is gone before the backward pass."""
    if not has_memory(table):
        raise RuntimeError(
            f"a table of shape {list(table.shape)} that the forward pass read has lost its "
            "memory: its storage was resized before the backward pass"
        )


def readable(tensor: Tensor) -> Tensor:
    """Return the same numbers as the kernels read them: contiguous, and not lazily negated."""
    return tensor.resolve_neg().contiguous()


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
    why = flaw(tensor, (dtype,))
    if why:
        raise TypeError(f"a tensor for the kernels {why}")
    return tensor.data_ptr()


def pass_ids(ids: Tensor) -> tuple[Tensor, int, int]:
    """Return int32 or int64 ids as a contiguous tensor, its address, and the bytes of an id."""
    dtype = ids.dtype
    if (dtype is not _int64 and dtype is not _int32) or not ids.is_cpu:
        raise TypeError(f"ids for the kernels {flaw(ids, (_int64, _int32))}")
    size = 8 if dtype is _int64 else 4
    contiguous = ids.is_contiguous()
    # What `has_memory` asks of contiguous ids; a call is felt in a lookup of one id.
    end = (ids.storage_offset() + ids.numel()) * size
    if not (contiguous and end <= ids.untyped_storage().nbytes()) and not has_memory(ids):
        raise RuntimeError(f"ids of shape {list(ids.shape)} have no memory: it is not allocated")
    if not contiguous or ids.is_neg():
        ids = readable(ids)
    return ids, ids.data_ptr(), size


def allocate(*shape: int) -> tuple[Tensor, int]:
    """Return an uninitialised float32 tensor on the CPU, and its address."""
    tensor = _new_floats(*shape)  # torch takes a third longer for a shape in one tuple
    return tensor, tensor.data_ptr()


def allocate_as(dtype: torch.dtype, *shape: int) -> tuple[Tensor, int]:
    """Return an uninitialised tensor of a floating point ``dtype`` on the CPU, and its address."""
    tensor = _FLOATS.new_empty(*shape, dtype=dtype)
    return tensor, tensor.data_ptr()


class Mark:
    """Place and layout of a tensor, to notice later that either has changed.

    The storage is kept alive, so its address cannot be given to another tensor meanwhile.

    Args:
        tensor: A table or a seed.
    """

    __slots__ = ("_address", "_dtype", "_nbytes", "_shape", "_storage")

    def __init__(self, tensor: Tensor) -> None:
        self._storage = tensor.untyped_storage()
        self._nbytes, self._address = self._storage.nbytes(), tensor.data_ptr()
        self._shape, self._dtype = tensor.shape, tensor.dtype

    def holds(self, tensor: Tensor) -> bool:
        """Return True if kernels still read the same numbers of the tensor at the same place."""
        return (
            tensor.data_ptr() == self._address
            and tensor.dtype is self._dtype
            and self._storage.nbytes() == self._nbytes
            and tensor.shape == self._shape
            and tensor.is_contiguous()
            and not tensor.is_neg()
        )


def same_storage(one: Tensor, other: Tensor) -> bool:
    """Return True if two tensors share their memory, as a view and its base do."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
