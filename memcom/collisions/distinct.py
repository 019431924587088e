"""What is known beforehand: can this method give two ids the same vector?

One statement for each method, with its reason. Three verdicts:

    distinct   all ids differ, for all tables but a set of measure zero (real numbers; what rounding
               merges is counted by `memcom.collisions.audit`)
    depends    on what was learned, or on hashes; the statement says when exactly
    shared     some ids are equal whatever is learned
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from memcom import embeddings as layers


class Statement(NamedTuple):
    """What holds for a method.

    Attributes:
        verdict: ``"distinct"``, ``"depends"`` or ``"shared"``.
        claim: The theorem or the condition, or the counter-example.
        reason: Why.
    """

    verdict: str
    claim: str
    reason: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.claim}. {self.reason}."


def uniqueness(emb: Any) -> Statement:
    """The statement that applies to a layer, with the options it has.

    Args:
        emb: Any compressor.

    Returns:
        The statement; for a layer of an unknown class one that says so.
    """
    for cls in type(emb).__mro__:
        if cls in STATEMENTS:
            found = STATEMENTS[cls]
            return found if isinstance(found, Statement) else found(emb)
    return Statement("depends", "nothing is known of this class", "Only counting tells")


_OWN_ROW = Statement(
    "distinct",
    "every id has a row of its own",
    "Two rows of independent real numbers are equal with probability 0",
)
_OWN_NUMBERS = Statement(
    "depends",
    "equal are exactly the ids that store nothing: they are all zero",
    "Rows with at least one number of their own differ with probability 1",
)


def _pigeonhole(rows: int, n: int, what: str) -> Statement:
    if rows >= n:
        return _OWN_ROW
    return Statement(
        "shared", f"{n:,} ids read {rows:,} {what}, so some are equal", "The pigeonhole principle"
    )


def _truncated(emb: layers.TruncatedEmbedding) -> Statement:
    if emb.num_kept >= emb.num_embeddings - 1:
        return _OWN_ROW
    return Statement(
        "shared",
        f"ids from {emb.num_kept:,} on are all equal, the others differ",
        "They share one row by design",
    )


def _hashed(emb: Any) -> Statement:
    return _pigeonhole(emb.num_buckets, emb.num_embeddings, "rows, one each")


def _double_hash(emb: layers.DoubleHashEmbedding) -> Statement:
    blind = emb.fusion == "sum"
    return Statement(
        "depends",
        "two ids are equal if they read the same two rows" + (", in either order" if blind else ""),
        "Which do is a matter of the hashes: memcom.collisions.report counts them",
    )


def _weighted_hash(emb: layers.WeightedHashEmbedding) -> Statement:
    if emb.num_weights is None or emb.num_weights >= emb.num_embeddings:
        return Statement(
            "distinct",
            "every id has weights of its own",
            "Different weights of the same rows, if these are not parallel, or of different rows, "
            "add up to equal vectors on a set of measure zero",
        )
    return Statement(
        "depends",
        "two ids are equal if they read the same rows and the same weights",
        "Both are hashed; Svenstrup et al. 2017 bound the chance",
    )


def _complementary(emb: Any) -> Statement:
    if emb.operation == "concat":
        why = "Complementary partitions (Shi et al. 2020, theorem 1): two ids differ in one part"
    else:
        why = (
            "Two ids differ in one part at least; that their sums or products agree all the same "
            "is a polynomial equation, which holds on a set of measure zero only. Tables such as "
            "all ones are in that set"
        )
    return Statement("distinct", "no two ids read the same row of every table", why)


def _binary_code(emb: layers.BinaryCodeEmbedding) -> Statement:
    rows = next(iter(emb.state_dict().values())).shape[0]
    if emb.shared and emb.fusion != "concat":
        return Statement(
            # Ids 1 and `rows` are such a pair, unless codes are hashed or the ids do not go so far.
            "shared" if emb.hash is None and emb.num_embeddings > rows else "depends",
            "ids whose code blocks are permutations of each other are equal: blocks (1, 0) and "
            "(0, 1), for instance",
            "One table is read by every block and the fusion forgets the order",
        )
    if emb.hash is not None:
        return Statement(
            "depends",
            "two ids are equal if their hashed codes are",
            "A random code of few bits meets another by the birthday rule",
        )
    return Statement(
        "distinct",
        "no two ids have the same code, and every block has its place",
        "The blocks are digits of the id; equal sums or products are a set of measure zero",
    )


def _head(emb: layers.HeadEmbedding) -> Statement:
    tail = uniqueness(emb.tail)
    return tail._replace(
        claim=f"the first {emb.head:,} ids have own rows; of the rest {tail.claim}"
    )


def _mapped(emb: layers.MappedEmbedding) -> Statement:
    return _pigeonhole(emb.inner.num_embeddings, emb.num_embeddings, "places of a stored map")


_MEMCOM = Statement(
    "depends",
    "two ids of one bucket are equal exactly if their multipliers are, or their row is zero",
    "x_i - x_j = (V_i - V_j) U_h. They lie on one line through the origin; ids of different "
    "buckets are equal only if their rows are parallel, with probability 0",
)
_MEMCOM_WITH_BIAS = Statement(
    "depends",
    "two ids of one bucket are equal exactly if (V_i - V_j) U_h + (W_i - W_j) 1 = 0",
    "If U_h is not the same in all coordinates, multiplier and bias must both be equal; else a "
    "whole line of pairs is",
)
_CODES = Statement(
    "depends",
    "two ids are equal exactly if all their codes are, for codewords that differ",
    "D codes of K values tell K^D ids apart at most",
)
_ROUNDED = Statement(
    "depends",
    "two ids are equal exactly if their stored bits are",
    "Rows that differ by less than a step, scale and offset included, may round to one",
)

STATEMENTS: dict[type, Statement | Callable[[Any], Statement]] = {
    layers.FullEmbedding: _OWN_ROW,
    layers.SmallDimEmbedding: _OWN_ROW,
    layers.TruncatedEmbedding: _truncated,
    layers.LowRankEmbedding: Statement(
        "distinct",
        "every id has a row of its own, and the second factor keeps rows apart",
        "x_i - x_j = (A_i - A_j) B is zero only if B loses a direction: measure zero",
    ),
    layers.HashEmbedding: _hashed,
    layers.LearnedHashEmbedding: _hashed,
    layers.MappedEmbedding: _mapped,
    layers.DoubleHashEmbedding: _double_hash,
    layers.BloomEmbedding: Statement(
        "depends",
        "two ids are equal if they read the same rows, in whatever order",
        "A sum forgets the order; which ids do is a matter of the hashes",
    ),
    layers.WeightedHashEmbedding: _weighted_hash,
    layers.QREmbedding: _complementary,
    layers.MixedRadixEmbedding: _complementary,
    layers.PathEmbedding: Statement(
        "distinct",
        "no two ids take the same path",
        "Equal ends of different paths are a set of measure zero: the maps are linear or leaky",
    ),
    layers.BinaryCodeEmbedding: _binary_code,
    layers.MEmComEmbedding: lambda emb: _MEMCOM if emb.bias is None else _MEMCOM_WITH_BIAS,
    layers.ScalarQREmbedding: Statement(
        "distinct",
        "the pair (i mod m, i div m) is the id's own",
        "In a bucket the multipliers differ, between buckets the rows do, both with probability 1",
    ),
    layers.KMEmComEmbedding: Statement(
        "depends",
        "two ids that read the same rows are equal if their weights are",
        "Every id has weights of its own, so only learning or rounding makes them equal",
    ),
    layers.TTEmbedding: Statement(
        "distinct",
        "no two ids read the same slice of every core",
        "The slices are digits of the id; equal products are a set of measure zero",
    ),
    layers.DHEmbedding: Statement(
        "depends",
        "two ids are equal if all k hashes agree, or where the network is flat",
        "k hashes of 32 bits agree with probability 2^(-32 k)",
    ),
    layers.ROBEEmbedding: Statement(
        "depends",
        "two ids are equal if all their chunks start at the same cells, with the same signs",
        "Hashes decide; several chunks seldom agree at once",
    ),
    layers.LMAEmbedding: Statement(
        "depends",
        "two ids of equal signature are equal",
        "Sharing in proportion to likeness is the method",
    ),
    layers.MixedDimEmbedding: Statement(
        "distinct",
        "every id has numbers of its own, and a projection widens them without loss",
        "Projections that lose a direction, or blocks that meet, are a set of measure zero",
    ),
    layers.DPQEmbedding: _CODES,
    layers.CodebookEmbedding: _CODES,
    layers.CCEEmbedding: Statement(
        "depends",
        "two ids are equal if in every column they share the cluster and the hashed row",
        "Clusters are learned; the second table's hash parts ids of a cluster by chance",
    ),
    layers.Int8Embedding: _OWN_ROW._replace(reason="In training; frozen, rows may round to one"),
    layers.QuantizedEmbedding: _ROUNDED,
    layers.JaggedEmbedding: _OWN_NUMBERS,
    layers.CSREmbedding: _OWN_NUMBERS,
    layers.PEPEmbedding: _OWN_NUMBERS,
    layers.AMTLEmbedding: _OWN_NUMBERS,
    layers.FIITEDEmbedding: _OWN_NUMBERS,
    layers.SCALLEmbedding: _OWN_NUMBERS,
    layers.HeadEmbedding: _head,
    layers.QuantizeLater: lambda emb: uniqueness(emb.embedding),
}
