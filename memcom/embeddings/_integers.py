"""Integer buffers that were averaged: noticed, and refused.

Seeds, maps, packed codes and sizes mean nothing once they have been averaged, which
``AveragedModel(..., use_buffers=True)`` does to every buffer of a model. A module that has such
buffers holds one more, a number that no averaging in floating point leaves as it is. It is not
saved. Its version, which torch raises when it writes to a tensor, tells when to look at it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from memcom.addresses import is_traced

MARK = "unaveraged"
VALUE = 2**53 + 1  # float32 and float64 both round it


class KeepsIntegers(nn.Module):
    """A module that raises where its integer buffers have been averaged."""

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a buffer; for the first of integers, the mark too."""
        super().register_buffer(name, tensor, persistent)
        if tensor is not None and not tensor.is_floating_point():
            self.mark_integers(tensor.device)

    def mark_integers(self, device: torch.device) -> None:
        """Register the mark, for integers here or in a child."""
        super().register_buffer(MARK, _mark(device), persistent=False)

    def require_integers(self) -> None:
        """Raise RuntimeError if the integer buffers have been averaged."""
        mark = self._buffers.get(MARK)
        if mark is None or torch.compiler.is_compiling() or not mark._version or is_traced(mark):
            return
        if mark.is_cuda:  # reading it back would stall the stream
            torch._assert_async((mark == VALUE).all(), _reason(self))
        elif int(mark) != VALUE:
            raise RuntimeError(_reason(self))
        else:
            self._buffers[MARK] = _mark(mark.device)  # its version is 0 again

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.require_integers()
        super()._apply(fn, recurse)
        mark = self._buffers.get(MARK)
        if mark is not None:  # `to_empty` leaves it undefined
            self._buffers[MARK] = _mark(mark.device)
        return self

    def _save_to_state_dict(self, *arguments: Any) -> None:
        self.require_integers()
        super()._save_to_state_dict(*arguments)


def _mark(device: torch.device) -> Tensor:
    return torch.full((1,), VALUE, dtype=torch.int64, device=device)


def _reason(module: nn.Module) -> str:
    return (
        f"the integers of a {type(module).__name__} (seeds, maps, codes or sizes) have been "
        "averaged. AveragedModel(model, use_buffers=False), the default, averages the parameters "
        "and copies the buffers"
    )
