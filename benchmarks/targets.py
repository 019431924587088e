"""Targets: ratios that are promised, and the verdict of a run on each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import geometric_mean
from typing import Any, NamedTuple

FORWARD, STEP, BAGS, CHECK = "forward", "step", "bags", "id check"
SEARCH, EVERY, COPY, MEMORY, SCALE = "top-k", "registry", "copy", "memory", "scale"
GROWTH = "growth"
PARTS = (COPY, FORWARD, STEP, BAGS, CHECK, SEARCH, EVERY, GROWTH, MEMORY, SCALE)


class Target(NamedTuple):
    """A promise: ``method`` takes at most ``limit`` times the time (memory) of ``baseline``.

    It holds for tables of ``num_embeddings`` ids of width 64, as a geometric mean over the kinds of
    ids.
    """

    phase: str
    method: str
    baseline: str
    batch: int
    limit: float
    num_embeddings: int = 10**6


_TABLE = "nn.Embedding"
PACKED = ("qr", "memcom", "hash", "mixed-radix")  # methods timed with packed rows
PACKED_BITS = (2, 3, 4, 8, 16)
STEP_PRODUCTS = "matrix products of its step"
MULTIPLIED = ("dpq", "mgqe", "dhe")  # methods whose step stands beside its products alone
STEPPED = ("dpq", "mgqe", "dhe", "path", "lma", "csr")  # methods whose own step is timed

_NEAR_ONE = ("robe", "cce", "bloom", "hash-embedding")
_UNEVEN = [
    *("dpq, random codes", "mgqe, random codes"),
    *("jagged", "csr", "pep, random places", "fiited, random places"),
    *("amtl, widths by a power law", "scall, widths by a power law"),
    *("mixed-dim", "lhf", "memcom, mapped", "memcom, head"),
]
_LOOKUPS = {  # method as shipped -> limits at 4,096 and at 65,536 ids
    **dict.fromkeys(("int8", "int4"), (0.8, 0.7)),
    **{f"{name}, {bits} bits": (0.9, 0.8) for name in PACKED for bits in PACKED_BITS},
    **dict.fromkeys(_NEAR_ONE, (1.2, 1.0)),
    **dict.fromkeys(_UNEVEN, (1.5, 1.2)),
    "lma": (4.0, 4.0),
}


def _at_both(
    method: str, baseline: str, limits: tuple[float, float], n: int = 10**6
) -> list[Target]:
    return [
        Target(EVERY, method, baseline, batch, limit, n)
        for batch, limit in zip((4096, 65536), limits, strict=True)
    ]


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
    Target(MEMORY, "memcom, lazy Adam", f"{_TABLE}, Adam(fused)", 4096, 1 / 12, 10**7),
    Target(MEMORY, "memcom, lazy Adam", f"{_TABLE}, Adam(fused)", 65536, 1 / 10, 10**7),
    *(target for method, both in _LOOKUPS.items() for target in _at_both(method, _TABLE, both)),
    *(target for method in ("tt", "path") for target in _at_both(method, _TABLE, (6, 6), 10**5)),
    *_at_both("dhe", "its matrix products", (1.2, 1.2), 10**5),
    *(Target(STEP, f"{m}, SGD", f"{_TABLE}, sparse SGD", 4096, 3, 10**5) for m in STEPPED),
    *(Target(STEP, f"{m}, SGD", STEP_PRODUCTS, 4096, 1.5, 10**5) for m in MULTIPLIED),
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
        if row.get("embedding_dim") != 64 or "ratio" not in row:
            continue
        if row["phase"] != MEMORY and row["threads"] != threads:
            continue
        work = row["phase"], row["method"], row["baseline"], row["batch"], row["num_embeddings"]
        for target, ratios in measured.items():
            if (*target[:4], target.num_embeddings) == work:
                ratios.append(row["ratio"])
    return [Verdict(target, geometric_mean(r) if r else None) for target, r in measured.items()]
