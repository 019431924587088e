"""The picture of every data set and task: what it shows of the sweeps, and of MEmCom's abstract."""

from __future__ import annotations

from typing import Any

from experiments.claims.memcom_claims import RANKING
from experiments.claims.published import PUBLISHED
from experiments.claims.results import Results

METHODS = ("memcom", "hash", "qr", "low-rank", "small-dim", "truncate")
PANELS = {  # title -> sweep of one table
    **{name: name for name in RANKING},
    "movielens, RankNet": "ranknet",
    "20 Newsgroups, words": "20newsgroups",
    "20 Newsgroups, pairs": "20newsgroups-pairs",
    "movielens, stream": "streaming",
}


def loss_panels(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Rows of `METHODS` by title of their panel, for `memcom.plots.loss_by_data`.

    Args:
        results: The committed sweeps; those that were not made have no panel.

    Returns:
        A list of rows for each panel, of whatever ratios were tried.
    """
    panels = {}
    for title, sweep in PANELS.items():
        rows = results.rows(sweep)
        rows = rows[rows["ratio"].notna() & rows["method"].isin(METHODS)]
        if len(rows):
            panels[title] = rows.to_dict("records")
    return panels


def abstract_panels() -> dict[str, list[dict[str, Any]]]:
    """What MEmCom's abstract says it loses, by title of each panel that it speaks of."""
    points = [
        {"method": p.method, "compression_ratio": p.ratio, "loss": p.loss}
        for p in PUBLISHED
        if p.metric == "ndcg" and p.method == "memcom"
    ]
    return dict.fromkeys(RANKING, points)
