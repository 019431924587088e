"""Evidence of the committed sweeps: the share of the full table's score that each method keeps.

    curves = Evidence.committed()
    kept = curves.at("gowalla", "qr", 16.0)      # logarithm of the share

A method was measured at some ratios on some data sets. Between two ratios the logarithm of the
share is interpolated over the logarithm of the ratio, from share 1 at ratio 1 on; beyond the
largest ratio measured nothing is said.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from memcom._files import shipped

SWEEPS = (
    "movielens",
    "ml-1m",
    "ml-1m-tuned",
    "lastfm-2k",
    "google-local",
    "gowalla",
    "amazon-book-part",
    "every-method",
    "every-method-lastfm",
    "quotient-remainder",
    "weight-bits",
    "references",
    "after-training",
    "after-training-google-local",
    "after-training-gowalla",
    "after-training-amazon-book-part",
)
"""Sweeps of the linear ranker, 64 wide, ids by frequency: those whose losses can be compared."""
SAME_RATIO = 1.02  # ratios so close are one
BEYOND = 1.1  # a method's curve is used up to so many times the largest ratio measured


@dataclass(frozen=True)
class DataSet:
    """A data set with ids in order of frequency.

    Attributes:
        num_embeddings: Number of ids.
        head_share: Share of the occurrences that goes to the most frequent 1/16 of the ids; NaN if
            it is not known.
        median_count: Median number of occurrences of an id; NaN if it is not known.
    """

    num_embeddings: int
    head_share: float = math.nan
    median_count: float = math.nan

    @classmethod
    def of(cls, counts: np.ndarray) -> DataSet:
        """Describe occurrences per id, ``(num_embeddings,)``."""
        ordered = np.sort(counts)[::-1]
        head = ordered[: len(ordered) // 16].sum() / ordered.sum()
        return cls(len(ordered), float(head), float(np.median(ordered)))

    @property
    def features(self) -> np.ndarray:
        """Numbers that tell how alike data sets are, ``(3,)``."""
        rare = math.log10(1 + self.median_count)
        return np.array([math.log10(self.num_embeddings), self.head_share, rare])


@dataclass
class Evidence:
    """Curves of methods on data sets.

    Attributes:
        curves: (data set, method) -> pairs of logarithms, ascending: of the ratio, and of the share
            of the full table's score that is kept at it.
        data_sets: What the data sets are like, by name.
        lookups: Times of lookups over those of ``nn.Embedding``, by method.
    """

    curves: Mapping[tuple[str, str], list[tuple[float, float]]]
    data_sets: Mapping[str, DataSet]
    lookups: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def committed(cls) -> Evidence:
        """Read the sweeps that the project carries."""
        folder = shipped("experiments/results")
        rows = [row for name in SWEEPS for row in _read(folder / name / "summary.csv")]
        described = {
            row["data"]: DataSet(
                int(row["num_items"]), float(row["head_share"]), float(row["median_count"])
            )
            for row in _read(folder / "data-sets.csv")
        }
        return cls(_curves(rows), described, _lookups(_read(folder / "speed.csv")))

    @property
    def methods(self) -> list[str]:
        """Every method that was measured, as in a specification."""
        return list(dict.fromkeys(method for _, method in self.curves))

    def without(self, data: str) -> Evidence:
        """Return the evidence of all other data sets."""
        curves = {key: curve for key, curve in self.curves.items() if key[0] != data}
        return Evidence(
            curves, {k: v for k, v in self.data_sets.items() if k != data}, self.lookups
        )

    def at(self, data: str, method: str, ratio: float) -> float | None:
        """Return the logarithm of the share of the score that a method keeps at a ratio.

        Args:
            data: Name of the data set.
            method: The method as in its specification.
            ratio: Bytes of the full table over bytes stored, >= 1.

        Returns:
            The logarithm, 0 for all of it; None if the method was not measured there.
        """
        curve = self.curves.get((data, method))
        if not curve or math.log(ratio) > curve[-1][0] + math.log(BEYOND):
            return None
        ratios, kept = zip((0.0, 0.0), *curve, strict=True)
        return float(np.interp(math.log(ratio), ratios, kept))

    def likeness(self, data: DataSet) -> dict[str, float]:
        """Return the weight of each known data set for conclusions about another.

        It falls with the squared distance of what is known of both: number of ids, share of the
        head, median count, each in units of its spread over the known data sets.

        Args:
            data: The other data set.

        Returns:
            Weights in (0, 1] by name.
        """
        known = np.array([each.features for each in self.data_sets.values()])
        spread = known.std(axis=0)
        apart = (known - data.features) / np.where(spread > 0, spread, 1)
        given = ~np.isnan(data.features)
        distance = np.square(apart[:, given]).mean(axis=1)
        weights = np.exp(-distance / 2)
        return dict(zip(self.data_sets, weights.tolist(), strict=True))

    def lookup(self, method: str) -> float | None:
        """Return the time of a lookup over that of ``nn.Embedding``; None if it was not measured.

        It is that of 4,096 Zipf ids of 10^6, 64 wide, on two threads, in the committed benchmark.
        """
        return self.lookups.get(method)


def _read(path: Path) -> Iterator[dict[str, str]]:
    if not path.exists():
        return
    with open(path, encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _curves(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], list[tuple[float, float]]]:
    points = defaultdict(list)
    for row in rows:
        if row["status"] == "finished" and row["loss"] and row["compression_ratio"]:
            ratio, loss = float(row["compression_ratio"]), float(row["loss"])
            if ratio > 1 and loss < 1:
                points[row["data"], row["method"]].append((math.log(ratio), math.log(1 - loss)))
    return {key: _merged(sorted(found)) for key, found in points.items()}


def _merged(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points in ascending order; those of equal ratios, from several sweeps, become their mean."""
    groups: list[list[tuple[float, float]]] = []
    for point in points:
        if groups and point[0] - groups[-1][0][0] < math.log(SAME_RATIO):
            groups[-1].append(point)
        else:
            groups.append([point])
    means = (np.mean(group, axis=0) for group in groups)
    return [(float(ratio), float(kept)) for ratio, kept in means]


def _lookups(rows: Iterable[Mapping[str, str]]) -> dict[str, float]:
    wanted = {"phase": "registry", "batch": "4096", "threads": "2"}
    return {
        row["method"]: float(row["ratio"])
        for row in rows
        if all(row[name] == value for name, value in wanted.items())
    }
