"""The papers' own figures: relative losses that their abstracts, or readers of them, report.

They were measured on other data, with other models, and each paper by its own definition of size.
They are drawn beside ours as hollow markers, never ranked with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

_MEMCOM = "Pansare et al., MLSys 2022, abstract"
_QR = "Shi et al., KDD 2020, as two readers of it report"
_BCH = "Yan et al., CIKM 2021, abstract"
_RIVALS = "best other method"


class Published(NamedTuple):
    """One figure of a paper.

    Attributes:
        method: Registry name, or ``"best other method"`` where the paper does not say which.
        ratio: Compression ratio of the input embedding.
        loss: Relative loss against the full table, 0.04 for 4 %.
        metric: Of what.
        data: On what, as far as the source says.
        source: Paper and place.
    """

    method: str
    ratio: float
    loss: float
    metric: str
    data: str
    source: str


PUBLISHED = (
    *(
        Published(method, ratio, loss, "ndcg", "one of four recommender data sets", _MEMCOM)
        for ratio, of_rivals in ((4, 0.06), (12, 0.10), (16, 0.16), (40, 0.08))
        for method, loss in (("memcom", 0.04), (_RIVALS, of_rivals))
    ),
    Published("memcom", 32, 0.01, "ndcg, RankNet", "interactions with games", _MEMCOM),
    Published("qr", 4, 0.003, "log loss, DCN", "Criteo Kaggle", _QR),
    Published("qr", 4, 0.007, "log loss, DLRM", "Criteo Kaggle", _QR),
    Published("bch", 1000, 0.01, "not said", "not said", _BCH),
)


def published_points(
    full: float, metric: str, *, methods: Sequence[str] = ("memcom", _RIVALS)
) -> list[dict[str, Any]]:
    """The papers' losses as scores beside a full table of ours, to be drawn as hollow markers.

    Args:
        full: Score of our full table; higher is better.
        metric: Name of our metric, the field of the score; only figures of the same are given.
        methods: Those that are wanted.

    Returns:
        Rows with ``method``, ``compression_ratio`` and the score.
    """
    return [
        {"method": p.method, "compression_ratio": p.ratio, metric: full * (1 - p.loss)}
        for p in PUBLISHED
        if p.metric == metric and p.method in methods
    ]
