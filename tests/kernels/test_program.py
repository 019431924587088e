"""Recipes as numbers: which can be, and how long a layer keeps its program."""

from __future__ import annotations

import pytest
import torch

from memcom.addresses import Clamp, Digit
from memcom.kernels import Read, Recipe
from memcom.kernels.program import layout, unsupported_reason
from tests.embeddings.cases import make

ANY_GPU = torch.device("cuda", 0)


def read(rows, columns, digit=None, **options):
    name = f"{rows}x{columns}"
    return Read(name, torch.zeros(rows, columns, **options), digit or Digit(rows))


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (Recipe((read(3, 2, dtype=torch.bfloat16),)), "bfloat16"),
        (Recipe((read(3, 2), read(4, 2, dtype=torch.float64))), "4x2 is torch.float64"),
        (Recipe((Read("t", torch.zeros(2, 3).T, Digit(3)),)), "t is not contiguous"),
        (Recipe((Read("t", torch.zeros(3), Digit(3)),)), "1 dimensions"),
        (Recipe((Read("t", torch.nn.Linear(1, 1), Digit(3)),)), "Linear"),
        (Recipe((read(3, 2, Digit(4)),)), "fewer rows"),
        (Recipe((read(3, 2, Digit(3, stride=2)),)), "modulus, divisor and stride"),
        (Recipe((read(3, 2, Clamp(-1)),)), "clamps to row -1"),
        (Recipe((read(3, 2, torch.abs),)), "not addressed by a Digit"),
        (
            Recipe((read(3, 2, Digit(3, seed=torch.zeros(2, dtype=torch.int64))),)),
            "the seed of 3x2",
        ),
        (Recipe((read(3, 2, Digit(3, seed=torch.tensor(1.0))),)), "float32"),
        (Recipe((read(3, 2), read(3, 4))), "widths"),
        (Recipe((read(3, 2),), weights=read(5, 2)), "one weight per row"),
        (Recipe((read(3, 2), read(3, 1)), weights=read(5, 2)), "widths"),
        (Recipe((read(3, 2),), shift=read(5, 2)), "shift"),
    ],
)
def test_a_recipe_without_a_program_says_why(recipe, why):
    assert why in unsupported_reason(recipe)


def test_one_table_is_not_read_as_rows_and_as_numbers():
    table = torch.zeros(3, 1)
    recipe = Recipe((Read("t", table, Digit(3)),), shift=Read("t", table, Digit(3)))
    assert "both" in unsupported_reason(recipe)


def test_tables_on_another_device_or_in_another_dtype():
    assert "is on cpu, not on cuda:0" in unsupported_reason(make("memcom").recipe(), ANY_GPU)
    layer = make("memcom")
    layer.multiplier.data = layer.multiplier.data.bfloat16()
    assert "bfloat16" in unsupported_reason(layer.recipe())


def test_a_layout_has_an_entry_per_read_in_the_order_of_their_roles():
    shared, scale, shift = torch.zeros(7, 4), torch.zeros(50, 1), torch.zeros(50, 1)
    seed = torch.tensor(5)
    recipe = Recipe(
        (
            Read("scale", scale, Digit(50)),
            Read("shared", shared, Digit(7, seed=seed)),
            Read("shared", shared, Digit(7, divisor=7)),
        ),
        "mult",
        Read("shift", shift, Digit(50)),
    )
    plan = layout(recipe, num_embeddings=50, padding_idx=3)
    assert plan.code == [
        [2, 0, 1, 1, 1, 4, 50, 3, 0],  # two rows, no weights, a scale, a shift; "mult", width, ...
        [0, 4, 1, 7, 1, 1, 0, 0, 0],
        [0, 4, 7, 7, 1, 0, 0, 0, 0],
        [0, 1, 1, 50, 1, 0, 0, 1, 0],
        [0, 1, 1, 50, 1, 0, 0, 2, 0],
    ]
    assert [t is u for t, u in zip(plan.tables, [shared, scale, shift], strict=True)] == [True] * 3
    assert plan.seeds[0] is seed
