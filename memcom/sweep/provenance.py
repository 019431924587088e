"""Where and with what a trial was run: noted beside every result, decides nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import traceback
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import torch

import memcom


def devices() -> list[str]:
    """``["cuda:0", ...]`` where there are GPUs, else ``["cpu"]``."""
    return [f"cuda:{n}" for n in range(torch.cuda.device_count())] or ["cpu"]


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def about(device: str) -> dict[str, Any]:
    """Versions, machine, its load and time of day, to be noted beside a result.

    Args:
        device: Where the trial ran.

    Returns:
        JSON values. ``load`` is the number of processes that wanted to run in the last minute: far
        above the number of cores, a trial's seconds say nothing. None where it is not known.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
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
    """The traceback of the exception that is being handled, without this machine's folders."""
    root = Path(memcom.__file__).parents[1]
    return traceback.format_exc().replace(f"{root}{os.sep}", "")


@cache
def _commit() -> str:
    """The commit of the sources if they are a checkout, with ``+`` if they were changed."""
    folder = Path(memcom.__file__).parent
    ask = (
        ["ls-files", "--error-unmatch", "__init__.py"],  # else it is somebody else's checkout
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
