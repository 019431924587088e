"""One report on how a layer shares rows: full collisions, buckets, popularity, chance.

    print(collisions.report(emb, counts=data.item_counts))

A *bucket* is a row of one table with the ids that read it. Sharing a row of one table is how every
compressor saves bytes; sharing every row is what makes two ids indistinguishable.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import log10

import numpy as np

from memcom._annotations import checked
from memcom.collisions.buckets import TableUse, table_uses
from memcom.collisions.sharing import CHUNK, Layer, codes
from memcom.collisions.theory import Expected, distinct_codes, expected_collisions


@dataclass(frozen=True, eq=False)
class CollisionReport:
    """Rows that the ids of one layer share; print it for a summary.

    Attributes:
        name: Class name of the layer.
        num_embeddings: Number of ids.
        distinct_codes: Different address combinations among the ids.
        possible_codes: Combinations the tables could give (multisets where order is lost).
        colliding_ids: Ids that share every address with another id.
        colliding_pairs: Unordered pairs that do.
        largest_group: Ids in the largest such group (1 where there is none).
        group_sizes: Distinct sizes of the groups of ids with equal codes, 1 included.
        group_counts: Groups of each of `group_sizes`.
        expected: The same under uniform random hashing into the same tables.
        tables: Use of each stored table.
        colliding_mass: Share of interactions whose id fully collides; None without counts.
        overshadowed_mass: Share of interactions whose id fully collides with a more popular one.
        findings: Sentences a reader should not miss.
    """

    name: str
    num_embeddings: int
    distinct_codes: int
    possible_codes: int
    colliding_ids: int
    colliding_pairs: int
    largest_group: int
    group_sizes: np.ndarray
    group_counts: np.ndarray
    expected: Expected
    tables: tuple[TableUse, ...]
    colliding_mass: float | None
    overshadowed_mass: float | None
    findings: tuple[str, ...]

    def __str__(self) -> str:
        n = self.num_embeddings
        share = self.colliding_ids / n if n else 0.0
        low, high = self.expected.distinct_interval
        few, many = self.expected.pairs_interval
        lines = [
            f"{self.name}: {n:,} ids, {self.distinct_codes:,} distinct codes of "
            f"{_short(self.possible_codes)} possible",
            f"  share every address   {self.colliding_ids:,} ids ({share:.2%}), "
            f"largest group {self.largest_group:,}",
            f"  colliding pairs       {self.colliding_pairs:,}",
            f"  random hashing gives  {self.expected.distinct:,.0f} codes "
            f"({low:,.0f} to {high:,.0f}), {self.expected.pairs:,.4g} pairs "
            f"({few:,.4g} to {many:,.4g}), P(any) {self.expected.any_pair:.3g}",
        ]
        if self.colliding_mass is not None:
            lines.append(
                f"  of the interactions   {self.colliding_mass:.2%} go to colliding ids, "
                f"{self.overshadowed_mass:.2%} to ids hidden behind a more popular one"
            )
        lines += [f"  {_table_line(table, n)}" for table in self.tables]
        lines += [f"  ! {finding}" for finding in self.findings]
        return "\n".join(lines)


def _short(number: int) -> str:
    if number < 10**15:
        return f"{number:,}"
    return f"about 10^{int((number.bit_length() - 1) * log10(2))}"


def _table_line(table: TableUse, n: int) -> str:
    if table.one_row_per_id:
        return f"{table.name:<21} {table.rows:,} rows, one or none per id: never shared"
    reads = f", {table.reads} reads per id" if table.reads > 1 else ""
    mass = ""
    if table.overshadowed_mass is not None:
        mass = f", {table.overshadowed_mass:.1%} of interactions behind a more popular id"
    return (
        f"{table.name:<21} {table.rows:,} rows{reads}, {table.rows_used:,} used, "
        f"{int((table.sizes * table.size_counts).sum()) / table.rows:.1f} ids a row, "
        f"fullest {table.largest:,}{mass}"
    )


@checked
def report(
    emb: Layer, counts: np.ndarray | None = None, chunk_size: int = CHUNK
) -> CollisionReport:
    """Count what the ids of a layer share, from its `addresses` alone.

    Args:
        emb: The layer.
        counts: Popularity of each id `(num_embeddings,)`, any non-negative numbers; adds the
            popularity-weighted shares.
        chunk_size: Ids per chunk (bounds memory beyond a few numbers per id and row).

    Returns:
        The report; print it for a summary.

    Raises:
        ValueError: If `counts` has the wrong length, a negative or a non-finite value.
    """
    n = emb.num_embeddings
    weights = _check_counts(counts, n)
    tables, classes = table_uses(emb, weights, chunk_size)
    _, group, sizes = np.unique(codes(emb, chunk_size), return_inverse=True, return_counts=True)
    colliding_mass = overshadowed_mass = None
    if weights is not None:
        total = weights.sum() or 1.0
        mass, top = np.zeros(len(sizes)), np.zeros(len(sizes))
        np.add.at(mass, group, weights)
        np.maximum.at(top, group, weights)
        colliding_mass = float(mass[sizes > 1].sum() / total)
        overshadowed_mass = float((mass - top).sum() / total)
    group_sizes, group_counts = np.unique(sizes, return_counts=True)
    return CollisionReport(
        name=type(emb).__name__,
        num_embeddings=n,
        distinct_codes=len(sizes),
        possible_codes=sum(number for number, _ in classes),
        colliding_ids=int(sizes[sizes > 1].sum()),
        colliding_pairs=int((sizes * (sizes - 1) // 2).sum()),
        largest_group=int(sizes.max(initial=0)),
        group_sizes=group_sizes,
        group_counts=group_counts,
        expected=expected_collisions(n, classes=classes),
        tables=tables,
        colliding_mass=colliding_mass,
        overshadowed_mass=overshadowed_mass,
        findings=_findings(n, len(sizes), tables, overshadowed_mass),
    )


def _check_counts(counts: np.ndarray | None, n: int) -> np.ndarray | None:
    if counts is None:
        return None
    weights = np.asarray(counts, dtype=np.float64)
    if weights.shape != (n,):
        raise ValueError(f"counts must have shape ({n},), one per id, got {weights.shape}")
    if n and not (np.isfinite(weights).all() and weights.min() >= 0):
        raise ValueError("counts must be finite and at least 0")
    return weights


def _findings(
    n: int, distinct: int, tables: tuple[TableUse, ...], hidden: float | None
) -> tuple[str, ...]:
    found = []
    for table in tables:
        if table.order_blind:
            ordered = distinct_codes(table.rows, table.reads, ordered=True)
            blind = distinct_codes(table.rows, table.reads, ordered=False)
            share = float(Fraction(blind, ordered))
            end = (
                "that is fewer than ids"
                if blind < n
                else "ids that read the same rows in another order coincide"
            )
            found.append(
                f"{table.name} is read {table.reads} times and the order is lost: at most "
                f"{_short(blind)} of {_short(ordered)} codes ({share:.1%}) give different vectors; "
                f"{end}. A table for each read, or concatenation, keeps the order."
            )
    if distinct < n:
        tail = "" if hidden is None else f"; they take {hidden:.2%} of the interactions"
        found.append(f"{n - distinct:,} ids are copies of another id after any training{tail}.")
    return tuple(found)
