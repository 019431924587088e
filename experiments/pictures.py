"""The pictures of README.md, drawn from the committed results.

Each carries a digest of the files it was drawn from, so that a test can say whether it is current.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from benchmarks import read_rows, speed_panels
from experiments.claims import Results, published_points
from experiments.claims.panels import abstract_panels, loss_panels
from memcom.plots import loss_by_data, quality_against_ratio, to_png
from memcom.plots.bench import speed_against_table

RESULTS = Path(__file__).resolve().parent / "results"
SPEED_ROWS = RESULTS / "speed.csv"  # memcom bench experiments/results/speed.csv --full


class Picture(NamedTuple):
    """A picture, how it is drawn, and the files that it is drawn from."""

    path: Path
    draw: Callable[[], Figure]
    sources: Sequence[Path]

    @property
    def digest(self) -> str:
        """SHA-256 of the sources; it is written into the picture."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self.sources)).hexdigest()

    def is_current(self) -> bool:
        """Whether the picture is there and was drawn from what the sources hold now."""
        return self.path.exists() and self.digest.encode() in self.path.read_bytes()

    def write(self) -> None:
        """Draw it."""
        self.path.write_bytes(to_png(self.draw(), metadata={"Source": self.digest}))


def draw_movielens() -> Figure:
    """Quality against ratio on MovieLens, with the abstract's points scaled to our full table."""
    rows = Results(RESULTS).rows("movielens")
    names = {"value": "ndcg", "value_low": "ndcg_low", "value_high": "ndcg_high"}
    points = [
        {key: value for key, value in row.items() if value == value}
        for row in rows.rename(columns=names).to_dict("records")
        if row["method"] not in ("small-dim", "truncate", "scalar-qr")
    ]
    full = float(rows[rows["method"] == "full"]["value"].iloc[0])
    published = published_points(full, "ndcg")
    return quality_against_ratio(points, quality="ndcg", published=published)


def draw_data() -> Figure:
    """Loss by data set and task."""
    return loss_by_data(loss_panels(Results(RESULTS)), published=abstract_panels())


def draw_speed() -> Figure:
    """Time over nn.Embedding's."""
    return speed_against_table(speed_panels(read_rows(SPEED_ROWS)))


MOVIELENS = Picture(
    RESULTS / "movielens.png", draw_movielens, [RESULTS / "movielens" / "summary.csv"]
)
DATA = Picture(RESULTS / "data-sets.png", draw_data, sorted(RESULTS.glob("*/summary.csv")))
SPEED = Picture(RESULTS / "speed.png", draw_speed, [SPEED_ROWS])
ALL = (MOVIELENS, DATA, SPEED)
