"""The best method for a number of ids and a budget, by what was measured on other data.

    print(memcom.recommend(1_000_000, 64, ratio=16))

A data set has losses of its own: at 16x quotient-remainder loses 4 % of the full table's nDCG on
one and 21 % on another. So a method's expected loss is not the mean over the data sets it happened
to be tried on. With y the logarithm of the share of the score that is kept,

    y[data, method] = scale of the data * size of the method + rest

is fitted by least squares: a method that loses half of what another loses on one data set is taken
to do so on all. What was not measured is filled in from it, and the mean over the data sets,
weighted by how much they are like the user's, is what to expect. Beside it stand the least
and the largest loss that were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from memcom import _text
from memcom._annotations import checked
from memcom._check import shown, whole
from memcom.advice.evidence import DataSet, Evidence
from memcom.budget import BudgetError, Plan, plan
from memcom.embeddings import parse_spec
from memcom.tasks.protocol import FITTED

MIN_DATA_SETS = 2
"""A method that was measured on fewer data sets at a ratio is not ranked there."""
SWEEPS = 50
"""Turns of scales and sizes in the fit."""


class ExpectedLoss(NamedTuple):
    """Loss to expect on new data, as a share of the full table's score; negative is a gain.

    Attributes:
        value: Mean over data sets, weighted by likeness.
        low: Least loss on a data set on which the method was measured.
        high: Largest loss on one.
        data_sets: Number of these data sets.
    """

    value: float
    low: float
    high: float
    data_sets: int


@dataclass(frozen=True)
class Suggestion:
    """A method that fits the budget.

    Attributes:
        method: As in a specification: ``"qr"``, ``"memcom(bits=16, weight_bits=8)"``; after
            ``"full->"`` one that is fitted to a full table once that is trained.
        asked: The budget, ``{"ratio": 16}`` or ``{"nbytes": "2 MB"}``.
        plan: Its sizes and bytes.
        loss: What to expect.
        lookup: Time of a lookup over that of ``nn.Embedding`` in the committed benchmark; None if
            it was not measured.
    """

    method: str
    asked: Mapping[str, Any]
    plan: Plan
    loss: ExpectedLoss
    lookup: float | None

    @property
    def line(self) -> str:
        """The line of Python that builds it, or compresses the ``trained`` table by it."""
        return build_line(
            self.method, self.plan.num_embeddings, self.plan.embedding_dim, self.asked
        )


@dataclass(frozen=True)
class Recommendation:
    """Methods for a budget, the one with the least expected loss first.

    Attributes:
        suggestions: Those that were measured at such a ratio and fit.
        best_trained: The first that needs no full table in training, which may come after the
            suggestions; None if there is none.
        left_out: Why others are not among them, by method.
        evidence: Data sets that the losses come from, with their weights.
    """

    suggestions: tuple[Suggestion, ...]
    best_trained: Suggestion | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Suggestion:
        """The first suggestion."""
        return self.suggestions[0]

    def __str__(self) -> str:
        rows = [
            {
                "method": each.method,
                "expected loss": f"{100 * each.loss.value:.1f} %",
                "measured": f"{100 * each.loss.low:.0f} to {100 * each.loss.high:.0f} %",
                "data sets": str(each.loss.data_sets),
                "bytes": f"{each.plan.nbytes:,}",
                "ratio": f"{each.plan.compression_ratio:.1f}",
                "lookup": "" if each.lookup is None else f"{each.lookup:.2f}",
            }
            for each in self.suggestions
        ]
        numbers = ("expected loss", "measured", "data sets", "bytes", "ratio", "lookup")
        sets = ", ".join(self.evidence)
        parts = [
            _text.table(rows, style="plain", right=numbers),
            "",
            f"Losses of the full table's nDCG in a linear ranker, on {sets}. Lookups in times of "
            "nn.Embedding's.",
            "",
            *dict.fromkeys(each.line for each in (self.best, self.best_trained) if each),
        ]
        if self.left_out:
            parts += ["", "Left out:"]
            parts += [f"  {method}: {reason}" for method, reason in self.left_out.items()]
        return "\n".join(parts)


def build_line(
    method: str, num_embeddings: int, embedding_dim: int, asked: Mapping[str, Any]
) -> str:
    """Return the line of Python that builds a method, or fits it to a ``trained`` table."""
    if method.startswith(FITTED):
        given = "".join(f", {key}={value!r}" for key, value in asked.items())
        return f"memcom.compress(trained{given}, method={method.removeprefix(FITTED)!r})"
    name, options = parse_spec(method)
    given = "".join(f", {key}={value!r}" for key, value in {**asked, **options}.items())
    return f"memcom.build({name!r}, {num_embeddings:_}, {embedding_dim}{given})"


@checked
def recommend(
    num_embeddings: int,
    embedding_dim: int,
    *,
    ratio: float | None = None,
    nbytes: int | str | None = None,
    counts: ArrayLike | None = None,
    top: int = 5,
    evidence: Evidence | None = None,
) -> Recommendation:
    """Rank the methods that fit a budget by the loss to expect on ids like these.

    >>> import memcom
    >>> found = memcom.recommend(20_000, 64, ratio=16, top=3)
    >>> len(found.suggestions)
    3
    >>> found.best.plan.nbytes <= 20_000 * 64 * 4 / 16
    True

    Args:
        num_embeddings: Number of ids, in order of frequency.
        embedding_dim: Width of the vectors.
        ratio: Budget as a compression ratio.
        nbytes: Budget in bytes, or as text such as ``"1.5 MB"``.
        counts: ``(num_embeddings,)`` occurrences of each id, if known: they tell which of the
            measured data sets are like yours.
        top: At most so many suggestions.
        evidence: What was measured; the committed sweeps by default.

    Returns:
        The recommendation; ``print`` shows it.

    Raises:
        BudgetError: No method that was measured can be that small; the message names the smallest.
        ValueError: Neither budget is given or both, or the counts do not fit.
    """
    if (ratio is None) == (nbytes is None):
        raise ValueError(f"give ratio or nbytes: got {shown(ratio)} and {shown(nbytes)}")
    asked = {"ratio": ratio} if nbytes is None else {"nbytes": nbytes}
    top = whole("top", top, 1)
    data = _described(num_embeddings, counts)
    known = evidence or Evidence.committed()
    planned, left_out = plans_within(known.methods, num_embeddings, embedding_dim, asked)
    ratios = {method: each.compression_ratio for method, each in planned.items()}
    expected = expect(known, ratios, data)
    for method in planned.keys() - expected.keys():
        left_out[method] = f"not measured at {ratios[method]:.0f}x on {MIN_DATA_SETS} data sets"
    if not expected:
        raise BudgetError(_too_small(known.methods, num_embeddings, embedding_dim, asked, left_out))
    ranked = sorted(expected, key=lambda method: expected[method].value)
    for method in ranked[top:]:
        left_out[method] = f"expected to lose {100 * expected[method].value:.1f} %"
    found = [
        Suggestion(method, asked, planned[method], expected[method], known.lookup(method))
        for method in ranked
    ]
    trained = next((each for each in found if not each.method.startswith(FITTED)), None)
    return Recommendation(tuple(found[:top]), trained, left_out, known.likeness(data))


def _described(num_embeddings: int, counts: ArrayLike | None) -> DataSet:
    """Describe the user's ids; checked."""
    if counts is None:
        return DataSet(whole("num_embeddings", num_embeddings, 1))
    given = np.asarray(counts)
    if given.shape != (num_embeddings,):
        raise ValueError(f"counts must be ({num_embeddings},), one per id, got {given.shape}")
    if not np.isfinite(given).all() or given.min() < 0 or given.sum() == 0:
        raise ValueError("counts must be finite, >= 0 and not all 0")
    return DataSet.of(given)


def plans_within(
    methods: list[str], num_embeddings: int, embedding_dim: int, asked: Mapping[str, Any]
) -> tuple[dict[str, Plan], dict[str, str]]:
    """Return the plans of the methods that can be so small, and why the others cannot."""
    plans, left_out = {}, {}
    for method in methods:
        name, options = parse_spec(method.removeprefix(FITTED))
        try:
            plans[method] = plan(name, num_embeddings, embedding_dim, **asked, **options)
        except BudgetError as error:
            left_out[method] = error.reason
    return plans, left_out


def _too_small(
    methods: list[str],
    num_embeddings: int,
    embedding_dim: int,
    asked: Mapping[str, Any],
    left_out: Mapping[str, str],
) -> str:
    (what, value), *_ = asked.items()
    reasons = "; ".join(f"{method}: {why}" for method, why in left_out.items())
    return (
        f"nothing is known of methods for {num_embeddings} x {embedding_dim} at {what}={value}: "
        f"{reasons}"
    )


def expect(
    evidence: Evidence, ratios: Mapping[str, float], data: DataSet
) -> dict[str, ExpectedLoss]:
    """Return the loss to expect of methods on new data.

    Args:
        evidence: What was measured.
        ratios: Ratio that each method stores, by method.
        data: What the new data is like.

    Returns:
        By method; those measured on fewer than `MIN_DATA_SETS` data sets are left out.
    """
    weights = evidence.likeness(data)
    y = np.array(
        [[evidence.at(each, *item) for item in ratios.items()] for each in weights], dtype=float
    )
    enough = (~np.isnan(y)).sum(axis=0) >= MIN_DATA_SETS
    if not enough.any():
        return {}
    methods = [method for method, take in zip(ratios, enough, strict=True) if take]
    y, w = y[:, enough], np.array(list(weights.values()))
    seen = ~np.isnan(y).all(axis=1)  # data sets without a measurement here say nothing
    y, w = y[seen], w[seen]
    mean = np.average(_filled(y, w), axis=0, weights=w)
    ends = np.nanmin(y, axis=0), np.nanmax(y, axis=0)
    tries = (~np.isnan(y)).sum(axis=0)
    value, low, high = (1 - np.exp([mean, ends[1], ends[0]])).tolist()
    found = zip(value, low, high, tries.tolist(), strict=True)
    return {method: ExpectedLoss(*each) for method, each in zip(methods, found, strict=True)}


def _filled(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Fill in what is NaN by the scale of the row times the size of the column.

    Args:
        y: ``(data sets, methods)``.
        w: ``(data sets,)`` weights.

    Returns:
        The filled table.
    """
    seen = ~np.isnan(y)
    known, weight = np.where(seen, y, 0), seen * w[:, None]
    scale = np.ones((len(y), 1))
    for _ in range(SWEEPS):
        size = _least_squares(scale, known, weight, axis=0)
        scale = _least_squares(size, known, weight, axis=1)
    return np.where(seen, y, scale * size)


def _least_squares(
    factor: np.ndarray, known: np.ndarray, weight: np.ndarray, axis: int
) -> np.ndarray:
    """The other factor of a product that comes closest to what is known."""
    squares = (weight * factor**2).sum(axis, keepdims=True)
    return (weight * factor * known).sum(axis, keepdims=True) / np.maximum(squares, 1e-12)
