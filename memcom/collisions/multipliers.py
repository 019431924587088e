"""Gaps between the multipliers that MEmCom gives the ids of one bucket.

Ids `i` and `j` of one bucket get `U[h] V[i]` and `U[h] V[j]`: different exactly when the scalars
differ and the shared row is not zero. "Different" in float32 may be equal after rounding, and a
gap of 1e-6 is too small for a model to use. So `(bucket, V)` is sorted and neighbours compared.

A bucket of `n` ids whose multipliers take `K` equally likely levels has `n (n - 1) / (2 K)`
expected equal pairs: 40 ids on 256 levels, 3.05 pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

import numpy as np
import torch

from memcom._annotations import checked
from memcom._check import choice, real
from memcom._text import table
from memcom.collisions.groups import group_equal
from memcom.collisions.sharing import CHUNK, Layer, address_chunks, state_of
from memcom.collisions.theory import birthday_pairs
from memcom.collisions.vectors import ROUNDINGS, round_rows


@dataclass(frozen=True, eq=False)
class RoundedGaps:
    """Gaps between neighbouring multipliers of a bucket, after one rounding.

    Attributes:
        rounding: "none", "fp16", "bf16" or "int8" (256 even levels over the whole column).
        equal_pairs: Unordered pairs of ids of one bucket with equal multiplier (and bias).
        equal_ids: Ids in such a pair.
        min_gap: Smallest gap (0 where a pair is equal); infinity where no bucket holds two ids.
        below: Gaps smaller than each eps, by eps.
    """

    rounding: str
    equal_pairs: int
    equal_ids: int
    min_gap: float
    below: dict[float, int]


@dataclass(frozen=True, eq=False)
class MultiplierReport:
    """Separation of the ids of a bucket by MEmCom's multipliers; print it for a table.

    Attributes:
        num_embeddings: Number of ids.
        num_buckets: Rows of the shared table.
        bias: Whether ids have a bias as well. Then a gap is the larger of the two differences
            between lexicographic neighbours, an upper bound for the closest pair.
        largest_bucket: Ids in the fullest bucket.
        gaps: Number of neighbouring pairs looked at.
        by_rounding: One entry per rounding.
        tiny_rows: Rows of the shared table with a norm below 1e-3 of the median norm: their ids
            are all nearly zero for any multipliers.
        expected_pairs: Birthday estimate of equal pairs by number of levels K.
    """

    num_embeddings: int
    num_buckets: int
    bias: bool
    largest_bucket: int
    gaps: int
    by_rounding: tuple[RoundedGaps, ...]
    tiny_rows: int
    expected_pairs: dict[int, float]

    def __str__(self) -> str:
        chance = ", ".join(f"{p:,.3g} at {k:,} levels" for k, p in self.expected_pairs.items())
        rows = [
            {
                "rounding": r.rounding,
                "equal pairs": f"{r.equal_pairs:,}",
                "min gap": f"{r.min_gap:.3g}",
                **{f"gaps < {eps:g}": f"{number:,}" for eps, number in r.below.items()},
            }
            for r in self.by_rounding
        ]
        numbers = [column for row in rows for column in row if column != "rounding"]
        return (
            f"{self.num_embeddings:,} multipliers in {self.num_buckets:,} buckets of at most "
            f"{self.largest_bucket:,}; {self.gaps:,} gaps; {self.tiny_rows:,} rows near zero\n"
            f"{indent(table(rows, style='plain', right=numbers), '  ')}\n"
            f"  chance alone gives equal pairs: {chance}"
        )


def round_column(values: np.ndarray, rounding: str) -> np.ndarray:
    """Round one column of scalars `(n,)` to float64, as `round_rows` rounds one long row.

    So int8 has 256 even levels over the whole column: a scale per scalar would store more than
    float32 does. -0.0 becomes +0.0.
    """
    if not len(values):
        return values.astype(np.float64)
    row = torch.from_numpy(values.astype(np.float64))[None]
    return round_rows(row, rounding)[0].numpy() + 0.0


def multipliers(emb: Layer, name: str = "multiplier") -> np.ndarray:
    """Copy the per-id scalars of a MEmCom layer, "multiplier" or "bias": float64 `(n,)`."""
    state = state_of(emb)
    if name not in state or state[name].numel() != emb.num_embeddings:
        raise TypeError(f"{type(emb).__name__} has no scalar per id called {name!r}")
    return state[name].double().cpu().numpy().reshape(-1).copy()


@checked
def multiplier_gaps(
    emb: Layer,
    eps: Sequence[float] = (1e-6, 1e-4, 1e-2),
    roundings: Sequence[str] = ("none", "fp16", "int8"),
    levels: Sequence[int] = (2**8, 2**10, 2**16, 2**23),
    chunk_size: int = CHUNK,
) -> MultiplierReport:
    """Measure the gaps between the multipliers of each bucket.

    Args:
        emb: A MEmCom layer: addresses "table" (the bucket), scalars "multiplier" and maybe "bias".
        eps: Gap sizes to count below, in multiplier units.
        roundings: Roundings of the stored scalars: "none", "fp16", "bf16" or "int8" (256 even
            levels over the whole column).
        levels: Numbers of levels K for the birthday estimate.
        chunk_size: Ids per chunk.

    Returns:
        The report; print it for a table.

    Raises:
        TypeError: If the layer has no multipliers.
        ValueError: If a multiplier is not finite.
    """
    for size in eps:
        real("each of eps", size, 0)
    for rounding in roundings:
        choice("each of roundings", rounding, ROUNDINGS)
    columns = [multipliers(emb)]
    if "bias" in state_of(emb):
        columns.append(multipliers(emb, "bias"))
    if not all(np.isfinite(c).all() for c in columns):
        raise ValueError("multipliers must be finite")
    bucket = np.concatenate(
        [np.zeros(0, np.int64)]
        + [found["table"][:, 0] for _, found in address_chunks(emb, chunk_size)]
    )
    norms = state_of(emb)["table"].double().norm(dim=1).cpu().numpy()
    sizes = np.bincount(bucket, minlength=len(norms))
    return MultiplierReport(
        num_embeddings=emb.num_embeddings,
        num_buckets=len(norms),
        bias=len(columns) > 1,
        largest_bucket=int(sizes.max()),
        gaps=int((sizes[sizes > 0] - 1).sum()),
        by_rounding=tuple(_gaps(bucket, columns, rounding, eps) for rounding in roundings),
        tiny_rows=int((norms <= 1e-3 * np.median(norms)).sum()),
        expected_pairs={k: birthday_pairs(sizes, k) for k in levels},
    )


def _gaps(
    bucket: np.ndarray, columns: list[np.ndarray], rounding: str, eps: Sequence[float]
) -> RoundedGaps:
    rounded = [round_column(column, rounding) for column in columns]
    order = np.lexsort((*reversed(rounded), bucket))
    same_bucket = bucket[order][1:] == bucket[order][:-1]
    steps = np.stack([np.abs(np.diff(column[order])) for column in rounded])
    gap = steps.max(axis=0)
    new = np.r_[True, ~(same_bucket & (gap == 0))][: len(order)]
    equal = group_equal(np.cumsum(new))
    gap = gap[same_bucket]
    return RoundedGaps(
        rounding=rounding,
        equal_pairs=equal.num_pairs,
        equal_ids=len(equal.ids),
        min_gap=float(gap.min()) if len(gap) else float("inf"),
        below={e: int((gap < e).sum()) for e in eps},
    )
