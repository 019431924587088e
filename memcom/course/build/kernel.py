"""The kernel of a headless run: this interpreter, not the one that Jupyter has registered."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

_INLINE = "module://matplotlib_inline.backend_inline"


class ThisInterpreter(AsyncKernelManager):
    """Starts ipykernel with ``sys.executable`` and the same ``memcom`` as the caller's.

    A notebook names its kernel ``python3``; on a machine where that is another environment's
    Python, Jupyter would start that one.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        """The specification of the kernel."""
        return KernelSpec(
            argv=[
                sys.executable,
                *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
                # ipykernel 7 warns at every start that local TCP is not encrypted
                *("--log-level=40", "--HistoryManager.enabled=False"),
            ],
            display_name="Python 3",
            language="python",
            env=kernel_environment(),
        )


def kernel_environment() -> dict[str, str]:
    """Return the variables of a headless kernel, to be set on top of the caller's.

    As many threads as there are usable CPUs (at most 8) unless the caller chose, inline pictures,
    no progress bars, a fixed hash seed, compiled lookups from the first one on.
    """
    package = str(Path(__file__).resolve().parents[3])
    path = os.environ.get("PYTHONPATH")
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(min(_usable_cpus(), 8)),
        "MPLBACKEND": _INLINE,
        "MEMCOM_COMPILE": "foreground",
        "TQDM_DISABLE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join([package, path] if path else [package]),
    }


def _usable_cpus() -> int:
    """Count the CPUs this process may use, which in a container are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
