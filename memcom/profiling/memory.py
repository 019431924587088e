"""Bytes of a table: by formula, as stored, and measured.

Each column misses something, so read them side by side:

- *formula*: parameters, gradients and optimizer state by arithmetic (`training_memory`);
- *stored*: bytes of the saved file, tensor by tensor (`nbytes_by_tensor`);
- *measured*: bytes that torch's allocator handed out (`allocated`), and bytes that the operating
  system gave to a fresh process (`resident`). Python's tracemalloc sees none of torch's memory.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from memcom._annotations import checked
from memcom._check import choice, real

# Environment of a process that is to keep freed memory. glibc hands large buffers, such as the
# output of a lookup or the scores of a batch over all items, back to the system when they are
# freed; the page faults of the next step then take half of its time. With these settings it neither
# maps buffers apart nor trims the heap. Other C libraries ignore them.
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


class _Optimizer(NamedTuple):
    moments: int  # state tensors of the parameter's size
    counter: int  # bytes of the step counter
    gradients: str  # "dense" only, "any", or "none": fused into the backward pass


_OPTIMIZERS = {
    "sgd": _Optimizer(0, 0, "any"),
    "momentum": _Optimizer(1, 0, "any"),
    "adagrad": _Optimizer(1, 4, "any"),
    "adam": _Optimizer(2, 4, "dense"),
    "adamw": _Optimizer(2, 4, "dense"),
    "sparse-adam": _Optimizer(2, 0, "any"),
    "lazy-adam": _Optimizer(2, 0, "none"),
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
    """Bytes that torch's allocator handed out while a function ran.

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


@checked
def nbytes_by_tensor(emb: nn.Module) -> dict[str, int]:
    """List the stored bytes of every parameter and saved buffer, by state name.

    Args:
        emb: The layer.

    Returns:
        Bytes by name; the sum is the tensor bytes of the saved file (`emb.nbytes`).
    """
    return {name: _nbytes(tensor) for name, tensor in emb.state_dict().items()}


@checked
def training_memory(
    emb: nn.Module, optimizer: str = "adam", ids: torch.Tensor | None = None
) -> TrainingMemory:
    """Work out the bytes that training a layer keeps in memory.

    Args:
        emb: The layer. Its trainable parameters count.
        optimizer: One of sgd, momentum (SGD with momentum), adagrad, adam, adamw, sparse-adam, as
            in `torch.optim` with default arguments, or lazy-adam: `memcom.optim.LazyAdam`, fused
            with the backward pass, which stores no gradient.
        ids: None: dense gradients. A batch of ids: every table that `emb.addresses` names has a
            sparse gradient, one entry per row read (repeats counted, as before coalescing).

    Returns:
        The bytes.

    Raises:
        ValueError: If the optimizer is unknown, or takes no sparse gradients and `ids` is given.
    """
    choice("optimizer", optimizer, list(_OPTIMIZERS))
    rule = _OPTIMIZERS[optimizer]
    if ids is not None and rule.gradients == "dense":
        raise ValueError(f"{optimizer} takes no sparse gradients; use sparse-adam, sgd or adagrad")
    if ids is not None and not hasattr(emb, "addresses"):
        raise TypeError(f"ids need a layer with addresses, got {type(emb).__name__}")
    layer: Any = emb  # nn.Embedding is welcome where no addresses are asked for
    rows_read = {} if ids is None else {k: a.numel() for k, a in layer.addresses(ids).items()}

    def gradient(name: str, p: nn.Parameter) -> int:
        if name in rows_read:
            return rows_read[name] * (_nbytes(p[0]) + 8)  # values of a row and its int64 index
        return _nbytes(p)

    trained = {n: p for n, p in emb.named_parameters() if p.requires_grad}
    parameters = sum(_nbytes(p) for p in emb.parameters())
    return TrainingMemory(
        parameters=parameters,
        buffers=sum(nbytes_by_tensor(emb).values()) - parameters,
        gradients=0
        if rule.gradients == "none"
        else sum(gradient(name, p) for name, p in trained.items()),
        optimizer_state=sum(rule.moments * _nbytes(p) + rule.counter for p in trained.values()),
    )


def _nbytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@checked
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


def peak_rss_bytes() -> int:
    """Measure the largest resident memory of this process so far; child processes do not count.

    On Linux this is ``VmHWM``; ``ru_maxrss`` survives ``exec`` there, so a process started by a
    large one reports at least the parent's size. Windows needs psutil.

    Returns:
        Bytes, including Python and every loaded library.
    """
    # Self-contained: `resident` and the runner of the notebooks send this source to processes
    # that have not imported memcom.
    import sys
    from pathlib import Path

    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


_CHILD = """
import json, sys
setup, code, meter = json.load(sys.stdin)
exec(meter)
names = {"__name__": "__main__"}
exec(compile(setup, "<setup>", "exec"), names)
before = peak_rss_bytes()
exec(compile(code, "<code>", "exec"), names)
print("\\n" + json.dumps([before, peak_rss_bytes()]))
"""


@checked
def resident(code: str, setup: str = "import torch, memcom", timeout_s: float = 300.0) -> Resident:
    """Run Python code in a fresh process and read the process's peak resident memory.

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
    real("timeout_s", timeout_s, 0)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps([setup, code, inspect.getsource(peak_rss_bytes)]),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the measured code failed:\n{done.stderr.strip()}")
    before, peak = json.loads(done.stdout.rsplit("\n", 2)[-2])
    return Resident(before, peak)
