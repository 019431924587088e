"""Where Triton's kernels run in the tests: on a GPU if there is one, else interpreted."""

from __future__ import annotations

import contextlib

import pytest
import torch

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
needs_gpu = pytest.mark.skipif(not GPU, reason="there is no GPU")


@contextlib.contextmanager
def interpreted():
    """Have Triton run its kernels as Python, on the CPU, where there is no GPU."""
    with pytest.MonkeyPatch.context() as patch:
        if not GPU:
            patch.setenv("TRITON_INTERPRET", "1")
        yield
