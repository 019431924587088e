"""What measured numbers depend on: the machine, its load, and the versions."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

VERSIONS = ("memcom-kit", "torch", "numba", "numpy", "fbgemm-gpu-cpu")
LOADED = 0.5  # cores that others may keep busy, or programs waiting before, without a warning


class Load:
    """How busy the machine was before, and how busy others kept it meanwhile.

    Made before the measurement, `read` after it.
    """

    def __init__(self) -> None:
        self._before = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        self._start = _clocks()

    def read(self) -> dict[str, float | str]:
        """The load average of the minute before, and the cores that other programs used since.

        Returns:
            ``load`` and ``others``; the latter is "-" where the system does not tell.
        """
        start, now = self._start, _clocks()
        others: float | str = "-"
        if start is not None and now is not None and now[0] > start[0]:
            elapsed, busy, own = (after - before for before, after in zip(start, now, strict=True))
            others = round(max(0.0, busy - own) / elapsed, 2)
        return {"load": round(self._before, 2), "others": others}


def _clocks() -> tuple[float, float, float] | None:
    """Seconds since some moment: of the clock, all cores' busy ones, and this program's own."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, *rest = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    mine = os.times()
    own = mine.user + mine.system + mine.children_user + mine.children_system
    ticks = user + nice + system + sum(rest[:2])  # and interrupts
    return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), own


def machine() -> dict[str, Any]:
    """Processor, cores, time and versions."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    versions = {name: _version(name) for name in VERSIONS}
    return {"processor": model, "cores": os.cpu_count(), "time": moment, **versions}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"
