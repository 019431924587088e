"""Targets: ratios that are promised, and the verdict of a run on each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import geometric_mean
from typing import Any, NamedTuple

FORWARD, STEP, BAGS, CHECK = "forward", "step", "bags", "id check"
SEARCH, EVERY, COPY, MEMORY, SCALE = "top-k", "registry", "copy", "memory", "scale"
PARTS = (COPY, FORWARD, STEP, BAGS, CHECK, SEARCH, EVERY, MEMORY, SCALE)


class Target(NamedTuple):
    """A promise: ``method`` takes at most ``limit`` times the time (memory) of ``baseline``.

    It holds for 10^6 ids (memory: 10^7) of width 64, as a geometric mean over the kinds of ids.
    """

    phase: str
    method: str
    baseline: str
    batch: int
    limit: float


_TABLE = "nn.Embedding"
TARGETS = [
    *(Target(FORWARD, m, _TABLE, b, 0.6) for m in ("memcom", "qr") for b in (4096, 65536)),
    *(Target(FORWARD, f"bch, {k} blocks", _TABLE, 4096, 0.4) for k in (2, 3)),
    *(Target(FORWARD, f"bch, {k} blocks", _TABLE, 65536, 0.45) for k in (2, 3)),
    *(Target(FORWARD, m, _TABLE, 1, 1.2) for m in ("memcom", "qr", "bch, 2 blocks")),
    Target(STEP, "memcom, SGD", f"{_TABLE}, sparse SGD", 4096, 0.5),
    Target(STEP, "memcom, SGD", f"{_TABLE}, sparse SGD", 65536, 0.7),
    Target(STEP, "memcom, lazy Adam", f"{_TABLE}, SparseAdam", 4096, 0.35),
    Target(STEP, "memcom, lazy Adam", f"{_TABLE}, SparseAdam", 65536, 0.4),
    Target(STEP, "memcom, lazy Adam", f"{_TABLE}, Adam(fused)", 4096, 0.02),
    Target(STEP, "memcom, lazy Adam", f"{_TABLE}, Adam(fused)", 65536, 0.1),
    *(Target(CHECK, m, f"{m}, no id check", 2**18, 1.05) for m in ("memcom", "memcom, plain")),
    Target(MEMORY, "memcom, lazy Adam", f"{_TABLE}, Adam(fused)", 4096, 1 / 12),
    Target(MEMORY, "memcom, lazy Adam", f"{_TABLE}, Adam(fused)", 65536, 1 / 10),
]


class Verdict(NamedTuple):
    """A target and the measured ratio, None where it was not measured."""

    target: Target
    measured: float | None

    @property
    def holds(self) -> bool | None:
        """True if the target is met; None where it was not measured."""
        return None if self.measured is None else self.measured <= self.target.limit


def check(rows: Iterable[Mapping[str, Any]], threads: int = 2) -> list[Verdict]:
    """Compare a run with the targets.

    Args:
        rows: As `benchmarks.run` gives them.
        threads: Number of threads whose times count.

    Returns:
        A verdict per target.
    """
    measured: dict[Target, list[float]] = {target: [] for target in TARGETS}
    for row in rows:
        in_memory = row["phase"] == MEMORY
        size = (10**7 if in_memory else 10**6), 64
        if (row.get("num_embeddings"), row.get("embedding_dim")) != size or "ratio" not in row:
            continue
        if not in_memory and row["threads"] != threads:
            continue
        for target, ratios in measured.items():
            if target[:-1] == (row["phase"], row["method"], row["baseline"], row["batch"]):
                ratios.append(row["ratio"])
    return [Verdict(target, geometric_mean(r) if r else None) for target, r in measured.items()]
