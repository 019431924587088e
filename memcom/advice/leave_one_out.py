"""Recommendations checked: on each data set, by what was measured on the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from memcom.advice.evidence import Evidence
from memcom.advice.recommend import expect, plans_within

RIGHT = 0.01
"""A recommendation is right if it loses at most so much more than the best method."""


class Check(NamedTuple):
    """A recommendation beside what was measured.

    Attributes:
        data: The data set that was left out.
        ratio: The ratio that was asked for.
        recommended: The method with the least loss to expect, of those measured there.
        loss: What it loses there, as a share of the full table's score.
        best: The method that loses least there.
        least: What that one loses.
        methods: Number of methods that were measured there.
    """

    data: str
    ratio: float
    recommended: str
    loss: float
    best: str
    least: float
    methods: int

    @property
    def regret(self) -> float:
        """Loss of the recommendation less that of the best method."""
        return self.loss - self.least

    @property
    def right(self) -> bool:
        """True if that is at most `RIGHT`."""
        return self.regret <= RIGHT


def leave_one_out(
    evidence: Evidence, ratios: Sequence[float], *, embedding_dim: int = 64
) -> list[Check]:
    """Recommend for each data set by what was measured on the others.

    Args:
        evidence: What was measured.
        ratios: Budgets, as compression ratios.
        embedding_dim: Width of the vectors.

    Returns:
        A check for each data set and ratio at which two methods or more can be compared.
    """
    found = []
    for data, described in evidence.data_sets.items():
        others = evidence.without(data)
        for ratio in ratios:
            planned, _ = plans_within(
                evidence.methods, described.num_embeddings, embedding_dim, {"ratio": ratio}
            )
            stored = {method: each.compression_ratio for method, each in planned.items()}
            losses = {
                method: 1 - math.exp(kept)
                for method, each in stored.items()
                if (kept := evidence.at(data, method, each)) is not None
            }
            expected = expect(others, stored, described)
            compared = [method for method in losses if method in expected]
            if len(compared) < 2:
                continue
            top = min(compared, key=lambda method: expected[method].value)
            best = min(compared, key=losses.__getitem__)
            found.append(Check(data, ratio, top, losses[top], best, losses[best], len(compared)))
    return found
