"""The budget calculator as an explorer."""

from __future__ import annotations

import pytest

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")

from memcom.course import calculator, tour
from memcom.course.figures import describe_budget_calculator


def test_every_control_works_at_both_ends_and_changes_something():
    assert tour(calculator()) == []


def test_values_of_ones_own_become_choices_in_order():
    mine = calculator(num_embeddings=97_310, embedding_dim=48, nbytes="2 MB", optimizer="sgd")
    assert mine.values == {
        "num_embeddings": 97_310,
        "embedding_dim": 48,
        "nbytes": "2 MB",
        "optimizer": "sgd",
    }
    assert list(mine.controls["num_embeddings"].options) == [
        1_000,
        10_000,
        97_310,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
    ]
    budgets = list(mine.controls["nbytes"].options)
    assert budgets.index("1.5 MB") + 1 == budgets.index("2 MB") == budgets.index("10 MB") - 1
    assert describe_budget_calculator(**mine.values) in mine.text.value.replace("&#x27;", "'")


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="Optimizer"):
        calculator(optimizer="lion")
