"""Every compressor of the registry, as it is shipped, and why some of them take long."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.methods import RATIO
from memcom.budget import BudgetError, build
from memcom.embeddings import CompressedEmbedding, available

SLOW = 3.0  # times nn.Embedding; beyond it a word is due
_BITS = "unpacks numbers of a few bits, row by row"
_RAGGED = "rows of different length: each is found by its offset and spread out"
_MATRICES = "multiplies matrices of numbers for every id"
WHY_SLOW = {
    "path": "runs a small network of its own for the quotient of every id",
    "tt": f"{_MATRICES}: two products of slices",
    "dhe": f"{_MATRICES}: the network is all that it stores",
    "low-rank": f"{_MATRICES}: the narrow row by the projection",
    "mixed-dim": f"{_MATRICES}, block of ids by block",
    "robe": "a vector's runs start anywhere, so it gathers single numbers",
    "lma": "gathers single numbers, from places hashed out of a signature",
    "cce": "reads two rows for each quarter of the vector, through stored maps",
    "dpq": f"{_BITS}: one code for each part of the vector",
    "mgqe": f"{_BITS}: codes whose length depends on the id",
    "lhf": f"reads the row's number from a map, which it stores packed; {_BITS}",
    "int8": _BITS,
    "int4": _BITS,
    "jagged": _RAGGED,
    "csr": _RAGGED,
    "pep": _RAGGED,
    "amtl": _RAGGED,
    "fiited": "most chunks are empty; those that are not are found by a stored map",
    "scall": _RAGGED,
    "small-dim": "has to append zeros to its narrow rows",
}
"""What a method does beside reading rows; said of those that a run finds slow."""


def every_layer(n: int, e: int) -> Iterator[tuple[str, CompressedEmbedding]]:
    """All methods at 16x, or as small as they can be, frozen to what is shipped.

    Args:
        n: Number of ids.
        e: Width.

    Yields:
        Registry name and layer.
    """
    for name in available():
        if name == "full":
            continue
        for ratio in (RATIO, RATIO / 2, RATIO / 4, RATIO / 8, 1.5):
            try:
                layer = build(name, n, e, ratio=ratio)
            except BudgetError:
                continue
            yield name, layer.freeze().eval()
            break
