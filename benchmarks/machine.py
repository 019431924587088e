"""Facts that measured numbers depend on: the machine, its load, and the versions."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

VERSIONS = ("memcom-kit", "torch", "numba", "numpy", "fbgemm-gpu-cpu")
SPARE = 2 * 2**30  # bytes of memory to leave to other programs
LOADED = 0.5  # cores that others used, or load average before, above which times are doubtful


def busy(row: Mapping[str, Any]) -> bool:
    """Return whether other programs were at work, by the load in a row of a run.

    Where the system does not tell what others used meanwhile, the load before stands for it. It may
    come from work that had ended.
    """
    return bool((row["load"] if row["others"] == "-" else row["others"]) > LOADED)


def free_memory() -> float:
    """Return the bytes that this machine could give now, without swapping."""
    return float(psutil.virtual_memory().available)


class Load:
    """Load of the machine before a measurement, and by other programs meanwhile.

    Made before the measurement, `read` after it.
    """

    def __init__(self) -> None:
        self._before = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        self._start = _clocks()

    def read(self) -> dict[str, float | str]:
        """Return the ``load`` average of the minute before, and the cores that ``others`` used.

        The latter is "-" where the system does not tell.
        """
        start, now = self._start, _clocks()
        others: float | str = "-"
        if start is not None and now is not None and now[0] > start[0]:
            elapsed, busy, own = (after - before for before, after in zip(start, now, strict=True))
            others = round(max(0.0, busy - own) / elapsed, 2)
        return {"load": round(self._before, 2), "others": others}


def _clocks() -> tuple[float, float, float] | None:
    """Seconds of the clock, busy seconds of all cores, and those of this program."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, *rest = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    mine = os.times()
    own = mine.user + mine.system + mine.children_user + mine.children_system
    ticks = user + nice + system + sum(rest[:2])  # and interrupts
    return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), own


def machine() -> dict[str, Any]:
    """Return processor, cores, bytes of the caches where known, time and versions."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    versions = {name: _version(name) for name in VERSIONS}
    facts = {"processor": model, "cores": os.cpu_count(), **caches(), "time": moment}
    return {**facts, **versions}


def caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, int]:
    """Return ``l2_bytes`` and ``l3_bytes`` of the first core, those that the system tells.

    L2 belongs to the core; L3 is shared, and its bytes are those of all of it.
    """
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    found = {}
    for index in sorted(folder.glob("index*")):
        level, kind, size = (
            (index / name).read_text().strip() for name in ("level", "type", "size")
        )
        if level in "23" and kind == "Unified":
            found[f"l{level}_bytes"] = int(size[:-1]) * units[size[-1]]
    return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"
