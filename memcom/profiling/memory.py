"""Bytes of a table: by formula, as stored, and measured.

Three columns that a reader should see side by side, because each misses something:

- *formula*: parameters, gradients and optimizer state by arithmetic (`training_memory`);
- *stored*: what the saved file holds, tensor by tensor (`nbytes_by_tensor`);
- *measured*: what torch's allocator was asked for (`allocated`), and what the operating system
  had to give to a fresh process (`resident`). Python's tracemalloc sees none of torch's memory.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from memcom.profiling import peak

_OPTIMIZERS = {
    # state tensors of the parameter's size, bytes of the step counter, takes sparse gradients
    "sgd": (0, 0, True),
    "momentum": (1, 0, True),
    "adagrad": (1, 4, True),
    "adam": (2, 4, False),
    "adamw": (2, 4, False),
    "sparse-adam": (2, 0, True),
}


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that training a layer holds at the moment the optimizer has stepped, by formula.

    Temporaries come on top: `torch.optim.Adam` in its default (foreach) form was measured to need
    two more copies of the parameters while it steps, its `fused` form none.

    Attributes:
        parameters: Parameter bytes.
        buffers: Bytes of saved buffers (seeds, index maps).
        gradients: Dense: as the parameters. Sparse: values and int64 indices of the rows read.
        optimizer_state: Moments and step counters.
    """

    parameters: int
    buffers: int
    gradients: int
    optimizer_state: int

    @property
    def total(self) -> int:
        """Sum of the four."""
        return self.parameters + self.buffers + self.gradients + self.optimizer_state


@dataclass(frozen=True)
class Allocation:
    """What torch's allocator handed out while a function ran.

    Attributes:
        peak: Most bytes held at once, above what was held at the start.
        kept: Bytes still held at the end (the function's result, usually).
    """

    peak: int
    kept: int


@dataclass(frozen=True)
class Resident:
    """Memory of a fresh process, as the operating system counts it, in bytes.

    Attributes:
        before: Peak resident set after the set-up.
        peak: Peak resident set after the measured code.
    """

    before: int
    peak: int

    @property
    def growth(self) -> int:
        """By how much the code raised the peak."""
        return self.peak - self.before


def nbytes_by_tensor(emb: nn.Module) -> dict[str, int]:
    """List the stored bytes of every parameter and saved buffer, by state name.

    Args:
        emb: The layer.

    Returns:
        Bytes by name; the sum is the tensor bytes of the saved file (`emb.nbytes`).
    """
    return {name: t.numel() * t.element_size() for name, t in emb.state_dict().items()}


def training_memory(
    emb: nn.Module, optimizer: str = "adam", ids: torch.Tensor | None = None
) -> TrainingMemory:
    """Work out what training a layer keeps in memory.

    Args:
        emb: The layer. Its trainable parameters count.
        optimizer: One of sgd, momentum (SGD with momentum), adagrad, adam, adamw, sparse-adam, as
            in `torch.optim` with default arguments.
        ids: None: dense gradients. A batch of ids: every table that `emb.addresses` names has a
            sparse gradient, one entry per row read (repeats counted, as before coalescing).

    Returns:
        The bytes.

    Raises:
        ValueError: If the optimizer is unknown, or takes no sparse gradients and `ids` is given.
    """
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(_OPTIMIZERS)}, got {optimizer!r}")
    moments, step, takes_sparse = _OPTIMIZERS[optimizer]
    if ids is not None and not takes_sparse:
        raise ValueError(f"{optimizer} takes no sparse gradients; use sparse-adam, sgd or adagrad")
    layer: Any = emb  # nn.Embedding is welcome where no addresses are asked for
    read = {} if ids is None else {k: a.numel() for k, a in layer.addresses(ids).items()}
    trained = {n: p for n, p in emb.named_parameters() if p.requires_grad}
    parameters = sum(p.numel() * p.element_size() for p in emb.parameters())
    gradients = 0
    for name, p in trained.items():
        if name in read:
            gradients += read[name] * (p[0].numel() * p.element_size() + 8)
        else:
            gradients += p.numel() * p.element_size()
    return TrainingMemory(
        parameters=parameters,
        buffers=sum(nbytes_by_tensor(emb).values()) - parameters,
        gradients=gradients,
        optimizer_state=sum(
            moments * p.numel() * p.element_size() + step for p in trained.values()
        ),
    )


def allocated(function: Callable[[], Any]) -> Allocation:
    """Run a function and add up what torch's CPU allocator was asked for.

    Args:
        function: Called once, without arguments; what it returns is alive at the end.

    Returns:
        Peak and remaining bytes, exact to the byte as requested (not rounded to pages).
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it writes to stderr at every start
    gc.collect()  # or what is left over from before may be freed meanwhile, and counted
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        result = function()
    events = profile.profiler.kineto_results.events()
    steps = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    held = np.cumsum([0] + [nbytes for _, nbytes in sorted(steps, key=lambda step: step[0])])
    del result
    return Allocation(peak=int(held.max()), kept=int(held[-1]))


_CHILD = f"""
import json, sys
sys.path.insert(0, {str(Path(peak.__file__).parent)!r})
from peak import peak_rss_bytes
del sys.path[0]
setup, code = json.load(sys.stdin)
names = {{"__name__": "__main__"}}
exec(compile(setup, "<setup>", "exec"), names)
before = peak_rss_bytes()
exec(compile(code, "<code>", "exec"), names)
print("\\n" + json.dumps([before, peak_rss_bytes()]))
"""


def resident(code: str, setup: str = "import torch, memcom", timeout_s: float = 300.0) -> Resident:
    """Run Python code in a fresh process and read the process's peak resident memory.

    On Linux the peak is `VmHWM`; `ru_maxrss` would start from the parent's peak there. On Windows
    this needs psutil.

    Args:
        code: Statements to measure, such as ``"emb = torch.nn.Embedding(10**6, 64)"``.
        setup: Statements to run before, not counted; their names are there for `code`.
        timeout_s: Seconds after which the process is stopped.

    Returns:
        Peaks before and after `code`.

    Raises:
        RuntimeError: If the code fails; the message ends with its error.
        subprocess.TimeoutExpired: If it runs longer than `timeout_s`.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps([setup, code]),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the measured code failed:\n{done.stderr.strip()}")
    before, peak = json.loads(done.stdout.rsplit("\n", 2)[-2])
    return Resident(before, peak)
