"""Every compressor of the registry, as it is shipped."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.methods import RATIO
from memcom.budget import BudgetError, build
from memcom.embeddings import CompressedEmbedding, available

SLOW = 3.0  # times nn.Embedding; beyond it the card must give a reason


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
