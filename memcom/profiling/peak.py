"""The largest memory that this process has held.

On Linux this is ``VmHWM`` of ``/proc/self/status``. ``resource.getrusage`` is not used there: its
``ru_maxrss`` survives ``exec``, so a kernel started by a large process reports at least that
process's size. Child processes are not counted.
"""

from __future__ import annotations

import sys
from pathlib import Path


def peak_rss_bytes() -> int:
    """Measure the largest resident memory of this process so far.

    Returns:
        Bytes, including Python and every loaded library.
    """
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
