"""Criteo-like clicks with planted crosses, of any size.

Rows of categorical fields with Zipf popularity and dense columns, clicked with log odds

    c + sum over fields f of w_f(x_f) + <v, dense>
      + sum over planted pairs (f, g) of strength * <u_f(x_f), u_g(x_g)> / sqrt(rank)

Only embeddings express the second line: no score per id can, however large the table. In the first,
``bias_strength`` is the standard deviation of one field's w. Effects and factors are hashes of
(field, id), so nothing has the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from memcom._check import real, whole
from memcom.data.assemble import labelled_rows
from memcom.data.containers import LabelledRows
from memcom.data.ordering import split_at_times
from memcom.data.synthetic import MAX_ITEMS, Taste, sample_zipf

# Eight fields from a flag to an id space: the spread of Criteo's 26 in small, and few enough ids
# that 100,000 rows are enough to learn the crosses.
CARDINALITIES = (3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


@dataclass(frozen=True)
class PlantedClicks:
    """The model clicks are drawn from.

    Attributes:
        crosses: Planted pairs of fields, by position.
        rank: Number of factors of a cross.
        strength: Standard deviation of the log odds that one cross gives.
        bias_strength: Standard deviation of the log odds that one field gives by itself.
        dense_strength: Standard deviation of the log odds that one dense column gives.
        click_rate: Share of clicks where all these are 0.
        seed: Seed that picks the model.
    """

    crosses: tuple[tuple[int, int], ...]
    rank: int = 2
    strength: float = 1.0
    bias_strength: float = 0.3
    dense_strength: float = 0.2
    click_rate: float = 0.25
    seed: int = 0

    def log_odds(self, ids: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """Return the log odds of a click that rows are drawn from, float64 (n,).

        `ids` are (n, fields) planted ranks, 0 the most popular (`LabelledRows.names`); `dense` is
        (n, d) float32.
        """
        total = np.full(len(ids), np.log(self.click_rate / (1 - self.click_rate)))
        for field in range(ids.shape[1]):
            effect = self._taste(1, field).item_factors(ids[:, field])[:, 0]
            total += self.bias_strength * effect
        for left, right in self.crosses:
            u = self._taste(self.rank, left).user_factors(ids[:, left])
            v = self._taste(self.rank, right).user_factors(ids[:, right])
            total += self.strength / self.rank**0.5 * np.einsum("nr,nr->n", u, v)
        signs = np.where(np.arange(dense.shape[1]) % 2, -1.0, 1.0)
        return total + self.dense_strength * (dense @ signs)

    def _taste(self, rank: int, stream: int) -> Taste:
        return Taste(rank, 1.0, self.seed * 10_007 + stream)


def load_synthetic_clicks(
    *,
    num_rows: int = 100_000,
    cardinalities: Sequence[int] = CARDINALITIES,
    num_dense: int = 4,
    num_crosses: int = 4,
    exponent: float = 1.0,
    rank: int = 2,
    strength: float = 1.0,
    bias_strength: float = 0.3,
    click_rate: float = 0.25,
    seed: int = 0,
) -> LabelledRows:
    """Make clicks: fields ``C1``.., dense columns ``I1``.., chronological like Criteo.

    Split by position: the first 70 % train, then 10 % validation, 20 % test. Ids that no row has
    are not numbered, so cardinalities come out smaller than asked.

    Args:
        num_rows: Number of rows.
        cardinalities: Number of planted ids of each field.
        num_dense: Number of dense columns, standard normal.
        num_crosses: Planted pairs of fields, those of the largest fields first.
        exponent: Exponent of the ids' popularity, >= 0; 1 is Zipf's law.
        rank: Number of factors of a cross.
        strength: Standard deviation of a cross's log odds; 0 plants no crosses.
        bias_strength: Standard deviation of a field's own log odds.
        click_rate: Share of clicks where all effects are 0.
        seed: Seed of ids, dense columns, model and clicks.

    Returns:
        The rows; an id's name is its planted rank. `PlantedClicks` gives the true log odds.

    Raises:
        ValueError: If a size is out of its range.
    """
    whole("num_rows", num_rows, 10, MAX_ITEMS)
    whole("num_dense", num_dense, 0, 1024)
    whole("rank", rank, 1, 1024)
    real("exponent", exponent, 0, 20)
    real("strength", strength, 0, 1000)
    real("bias_strength", bias_strength, 0, 1000)
    if not 0 < click_rate < 1:
        raise ValueError(f"click_rate must be in (0, 1), got {click_rate}")
    if not cardinalities or not all(1 <= n <= MAX_ITEMS for n in cardinalities):
        raise ValueError(f"cardinalities must be 1 to {MAX_ITEMS:,}, got {list(cardinalities)}")
    planted = PlantedClicks(
        largest_pairs(cardinalities, num_crosses),
        rank=rank,
        strength=strength,
        bias_strength=bias_strength,
        click_rate=click_rate,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    ids = np.stack([sample_zipf(n, num_rows, exponent, rng) for n in cardinalities], axis=1)
    dense = rng.standard_normal((num_rows, num_dense), dtype=np.float32)
    click = rng.random(num_rows) < 1 / (1 + np.exp(-planted.log_odds(ids, dense)))
    return labelled_rows(
        "synthetic-clicks",
        {f"C{field + 1}": ids[:, field] for field in range(ids.shape[1])},
        click.astype(np.int64),
        ("no click", "click"),
        split_at_times(np.arange(num_rows)),
        dense=dense if num_dense else None,
        dense_names=tuple(f"I{column + 1}" for column in range(num_dense)),
        notes=f"Planted crosses: {planted.crosses}, seed {seed}. Split: by position.",
    )


def largest_pairs(cardinalities: Sequence[int], count: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of fields with the most combinations, the largest first."""
    pairs = list(combinations(range(len(cardinalities)), 2))
    if not 0 <= count <= len(pairs):
        raise ValueError(
            f"num_crosses is {count}; {len(cardinalities)} fields have 0 to {len(pairs)} pairs"
        )
    pairs.sort(key=lambda pair: -cardinalities[pair[0]] * cardinalities[pair[1]])
    return tuple(pairs[:count])
