"""The pictures of the documentation, drawn from the committed results.

Each carries a digest of the files it was drawn from, so that a test can say if it is current.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from benchmarks import growth_panels, read_rows, speed_panels
from experiments.claims import Results
from experiments.head_shares import RANKING
from experiments.pages.tables import METHODS
from memcom._files import write_atomically
from memcom.plots import (
    cost_against_growth,
    loss_by_data,
    quality_against_ratio,
    speed_against_table,
    to_png,
)

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "experiments" / "results"
SPEED_ROWS = RESULTS / "speed.csv"  # memcom bench experiments/results/speed.csv --full
BOUNDS_ROWS = RESULTS / "bounds.csv"  # python -m benchmarks.bounds --out the file
STEPS_ROWS = RESULTS / "steps.csv"  # python -m benchmarks.bounds --steps --out the file
PUBLISHED = RESULTS / "published.csv"
REFERENCES = ("ease", "ials", "itemknn", "bpr")
PANELS = {  # title -> sweep of one table
    **{name: name for name in RANKING},
    "movielens, RankNet": "ranknet",
    "20 Newsgroups, words": "20newsgroups",
    "20 Newsgroups, pairs": "20newsgroups-pairs",
    "movielens, stream": "streaming",
}


class Picture(NamedTuple):
    """A picture: where it is, what it shows, how it is drawn and from which files."""

    path: Path
    alt: str
    draw: Callable[[], Figure]
    sources: Sequence[Path]
    dpi: int = 110

    @property
    def digest(self) -> str:
        """SHA-256 of the sources; it is written into the picture."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self.sources)).hexdigest()

    def is_current(self) -> bool:
        """True if the picture was drawn from what the sources hold now."""
        return self.path.exists() and self.digest.encode() in self.path.read_bytes()

    def write(self) -> None:
        """Draw the picture into its file."""
        content = to_png(self.draw(), dpi=self.dpi, metadata={"Source": self.digest})
        write_atomically(self.path, lambda path: Path(path).write_bytes(content))


def draw_headline() -> Figure:
    """Draw the share of the full table's quality that is kept on ml-1m, against ratio and bytes."""
    results = Results(RESULTS)
    rows = results.finished("ml-1m")
    methods = ["full", "popular", "bias-only", *reversed(METHODS)]
    points = [row for method in methods for row in _kept(rows[rows["method"] == method])]
    points += _kept(results.finished("quotient-remainder", data="ml-1m", method="mixed-radix"))
    points.sort(key=lambda point: point["method"] == "qr")  # its last point on top
    others = results.finished("references", data="ml-1m")
    points += _kept(others[others["method"].isin(REFERENCES)])
    return quality_against_ratio(
        points,
        quality="kept",
        label="nDCG@10, % of the full table's",
        title="MovieLens 1M: ranking quality kept against the bytes stored",
    )


def _kept(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of one method as points: 100 minus the loss in percent."""
    kept = pd.DataFrame(
        {
            "method": rows["method"],
            "nbytes": rows["nbytes"],
            "compression_ratio": rows["compression_ratio"],
            "kept": 100 * (1 - rows["loss"].fillna(0)),
            "kept_low": 100 * (1 - rows["loss_high"]),
            "kept_high": 100 * (1 - rows["loss_low"]),
        }
    ).drop_duplicates(["method", "compression_ratio"])
    points: list[dict[str, Any]] = kept.to_dict("records")
    return points


def draw_data_sets() -> Figure:
    """Draw the loss against the ratio, for each data set and task."""
    results, published = Results(RESULTS), pd.read_csv(PUBLISHED)
    panels = {}
    for title, sweep in PANELS.items():
        rows = results.finished(sweep)
        rows = rows[rows["ratio"].notna() & rows["method"].isin(METHODS)]
        panels[title] = rows.to_dict("records")
    abstract = published[(published["metric"] == "ndcg") & (published["method"] == "memcom")]
    return loss_by_data(panels, published=dict.fromkeys(RANKING, abstract.to_dict("records")))


def draw_speed() -> Figure:
    """Draw times over nn.Embedding's."""
    return speed_against_table(speed_panels(read_rows(SPEED_ROWS)))


def draw_growth() -> Figure:
    """Draw the time of an id against the bytes of the table and the batch."""
    return cost_against_growth(growth_panels(read_rows(SPEED_ROWS)))


def has_growth() -> bool:
    """Return whether the committed run has the rows of `draw_growth`."""
    return b"\ngrowth," in SPEED_ROWS.read_bytes()


PICTURES = ROOT / "docs" / "pictures"
HEADLINE = Picture(
    PICTURES / "headline.png",
    "Share of the full table's nDCG@10 that each method keeps on MovieLens 1M at 2 to 64 times "
    "fewer bytes. Quotient-remainder and mixed radix keep most, then MEmCom, then hashing and "
    "truncating; low rank and small dimension keep least, and popularity alone keeps half. Dashed "
    "lines are models of another kind: EASE and iALS lie above the full table.",
    draw_headline,
    [RESULTS / sweep / "summary.csv" for sweep in ("ml-1m", "quotient-remainder", "references")],
    dpi=150,
)
DATA_SETS = Picture(
    PICTURES / "data-sets.png",
    "Loss against the full table over compression ratio, a panel for each data set and task, one "
    "line a method; the points of MEmCom's abstract are hollow markers.",
    draw_data_sets,
    [*(RESULTS / sweep / "summary.csv" for sweep in PANELS.values()), PUBLISHED],
)
SPEED = Picture(
    PICTURES / "speed.png",
    "Time of a lookup and of a training step, method by method, as a multiple of nn.Embedding's; "
    "markers left of the line at 1 are faster than the table they replace.",
    draw_speed,
    [SPEED_ROWS],
)
GROWTH = Picture(
    PICTURES / "growth.png",
    "Nanoseconds of one id, in four panels: lookups above, training steps below; on the left over "
    "the bytes of the table, on the right over the ids at a time. A line each for the full table, "
    "MEmCom, quotient-remainder and its rows in 8 bits, with dashed lines where the caches end.",
    draw_growth,
    [SPEED_ROWS],
)
ALL = (HEADLINE, DATA_SETS, SPEED, *([GROWTH] if has_growth() else []))
