"""Distinctness: whether a layer can give two ids the same vector, known before counting.

Every method states it on its card, and its class refines it for the options of a layer; the words
are those of `memcom.embeddings.DISTINCT`. What really is equal, `memcom.audit` counts.
"""

from __future__ import annotations

from typing import Any

from memcom.embeddings import UNKNOWN, CompressedEmbedding, QuantizedTable, Statement
from memcom.embeddings.quantized import rounded


def uniqueness(emb: Any) -> Statement:
    """Return the statement that applies to a layer, with the options it has.

    Args:
        emb: Any compressor. In one whose tables are packed, rounding may make rows equal.

    Returns:
        The word and the reason; ``UNKNOWN`` for a layer of a class without a card.
    """
    if not isinstance(emb, CompressedEmbedding):
        return UNKNOWN
    packed = any(isinstance(module, QuantizedTable) for module in emb.modules())
    return rounded(emb.distinctness()) if packed else emb.distinctness()
