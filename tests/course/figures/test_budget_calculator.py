"""The budget calculator says what the planner and the layers say."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

import memcom
from memcom import plots
from memcom.course.figures.budget_calculator import (
    FOUNDATION,
    budget_calculator,
    describe_budget_calculator,
    fits,
)

SHOP = {"num_embeddings": 10_000, "embedding_dim": 16, "nbytes": "100 KB", "optimizer": "adam"}


def stored(figure, method):
    (line,) = [a for a in figure.axes[0].lines if a.get_label() == method]
    return line.get_xdata()[0]


@pytest.mark.parametrize("method", FOUNDATION)
def test_stored_and_training_bytes_are_those_of_a_real_layer(method):
    budget = {} if method == "full" else {"nbytes": "100 KB"}
    layer = memcom.build(method, 10_000, 16, **budget)
    (row,) = fits(10_000, 16, "100 KB", "adam", [method])
    assert row.plan.nbytes == layer.nbytes
    parameters = list(layer.parameters())
    numbers = sum(p.numel() for p in parameters)
    seeds = layer.nbytes - 4 * numbers
    assert row.training == 4 * 4 * numbers + 4 * len(parameters) + seeds  # one step counter each
    assert stored(budget_calculator(**SHOP), method) == layer.nbytes


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd", 2), ("momentum", 3), ("adam", 4)])
def test_optimizers_multiply_the_full_table(optimizer, copies):
    (row,) = fits(1_000, 8, "1 MB", optimizer, ["full"])
    assert row.training == copies * 4 * 1_000 * 8 + (4 if optimizer == "adam" else 0)


def test_a_method_that_cannot_be_that_small_says_so():
    rows = {row.method: row for row in fits(10_000, 16, "30 KB")}
    assert rows["memcom"].plan is None
    assert "every id stores its own weight" in rows["memcom"].reason
    assert rows["memcom"].sizes == ""
    assert rows["hash"].sizes == "num_buckets 468"  # (30,000 - 8 bytes of seed) // 64
    text = describe_budget_calculator(**{**SHOP, "nbytes": "30 KB"})
    assert "Cannot be that small: small-dim, low-rank, memcom, memcom-bias." in text
    drawn = [t.get_text() for t in budget_calculator(**{**SHOP, "nbytes": "30 KB"}).axes[0].texts]
    assert drawn.count("cannot be that small") == 4


def test_a_budget_that_nothing_fits_is_drawn_and_said():
    tiny = {**SHOP, "num_embeddings": 10**8, "nbytes": "10 B"}
    assert "None of the methods fits." in describe_budget_calculator(**tiny)
    assert plots.to_png(budget_calculator(**tiny)).startswith(b"\x89PNG")


def test_the_budget_is_solved_backwards():
    text = describe_budget_calculator(**SHOP)
    assert "stores 640 kB, 6.4 times the budget" in text
    assert "training it with adam holds 2.56 MB" in text
    assert "100 KB holds full rows for 1,562 ids, or 2 numbers for each of the 10,000" in text
    assert "hash (num_buckets 1,562)" in text


def test_what_has_room_is_not_called_a_multiple_of_the_budget():
    assert "times the budget" not in describe_budget_calculator(**{**SHOP, "nbytes": "1 MB"})
