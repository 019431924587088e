"""Versions, commit and machine of a trial; noted beside every result, decide nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import traceback
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

import memcom


def devices() -> list[str]:
    """Return ``["cuda:0", ...]`` where there are GPUs, else ``["cpu"]``."""
    return [f"cuda:{n}" for n in range(torch.cuda.device_count())] or ["cpu"]


def parallel_trials() -> int:
    """Return the number of trials this machine runs at a time: one per core, or four per GPU."""
    affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1
    return cores if devices() == ["cpu"] else min(cores, 4 * len(devices()))


def provenance(device: str) -> dict[str, Any]:
    """Return versions, commit, machine, its load and the time of day, as JSON values.

    ``load`` is the number of processes that wanted to run in the last minute, None where the system
    does not tell. A load far above the number of cores makes a trial's seconds meaningless.
    """
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    name = platform.processor() or platform.machine()
    if device != "cpu":
        name = torch.cuda.get_device_name(device)
    return {
        "memcom": memcom.__version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device,
        "machine": f"{name}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "finished": now,
    }


def traceback_in_package() -> str:
    """Return the traceback of the exception being handled, without the folders of this machine."""
    root = Path(memcom.__file__).parents[1]
    return traceback.format_exc().replace(f"{root}{os.sep}", "")


@cache
def _commit() -> str:
    """The commit of the checkout the sources lie in, with ``+`` if they were changed."""
    folder = Path(memcom.__file__).parent
    ask = (
        ["ls-files", "--error-unmatch", "__init__.py"],  # else the checkout is another project's
        ["describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
    )
    found = ""
    for words in ask:
        try:
            answer = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        if answer.returncode:
            return ""
        found = answer.stdout.strip()
    return found
