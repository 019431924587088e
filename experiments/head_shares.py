"""Write experiments/results/data-sets.csv: the sizes of the ranking data sets, and their heads.

    python -m experiments.head_shares

Needs the data sets: in the folder MEMCOM_DATA, or downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from memcom._files import write_csv
from memcom.data import load

OUT = Path(__file__).resolve().parent / "results" / "data-sets.csv"
RANKING = ("movielens", "ml-1m", "lastfm-2k", "google-local", "gowalla", "amazon-book-part")
HEAD = 16  # one of this many ids belongs to the head


def facts(name: str) -> dict[str, Any]:
    """Sizes of one data set, and the share of the interactions that its head gets."""
    data = load(name)
    counts = np.sort(np.bincount(data.item, minlength=data.num_items))[::-1]
    return {
        "data": name,
        "num_users": data.num_users,
        "num_items": data.num_items,
        "num_interactions": len(data),
        "median_count": float(np.median(counts)),
        "head_share": round(counts[: data.num_items // HEAD].sum() / counts.sum(), 4),
    }


if __name__ == "__main__":
    write_csv(OUT, [facts(name) for name in RANKING])
