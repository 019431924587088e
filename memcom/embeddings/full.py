"""The full table, and the two plainest ways to shrink it.

| name        | vector of id i                      | stored numbers |
| ----------- | ----------------------------------- | -------------- |
| `full`      | T[i]                                | n e            |
| `small-dim` | T[i] of width d < e, then zeros     | n d            |
| `truncate`  | T[i] if i < K, else the shared T[K] | (K + 1) e      |

These are the baselines that any other method has to beat at equal bytes.
"""

from __future__ import annotations

from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Clamp, Digit
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Statement
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings.registry import register
from memcom.kernels import Read, Reading, Recipe

__all__ = ["FullEmbedding", "SmallDimEmbedding", "TruncatedEmbedding"]


class _OwnWeight:
    """The parameter ``weight``, or what the contract composes once the rows are packed.

    It has no setter, so that what a wrapper puts in the place of the parameter, as FSDP does, is
    what the layer reads.
    """

    def __get__(self, layer: FullEmbedding | None, owner: type) -> Any:
        if layer is None:
            return self
        own = layer._parameters.get("weight")
        return super(FullEmbedding, layer).weight if own is None else own


@register("full")
class FullEmbedding(TableEmbedding):
    """`torch.nn.Embedding` under the contract of the compressors: T[i].

    State: ``weight`` (num_embeddings, embedding_dim), drawn from N(0, 1), as in
    `torch.nn.Embedding`, whose state it loads. A state with the older name ``table`` loads too.
    """

    card = Card(
        label="full table",
        formula="T[i]",
        distinct="always",
        because="every id has a row",
        use_when="If it fits; every loss is measured against it.",
        look=("full", 0),
    )

    def __init__(self, num_embeddings: int, embedding_dim: int, **common: Unpack[Common]) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self._parameters["weight"] = self.new_table(num_embeddings, embedding_dim)
        self.reset_parameters()

    weight: Any = _OwnWeight()

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter of any name, ``weight`` too, as FSDP does after it took it away."""
        if name == "weight":
            self._parameters[name] = param
        else:
            super().register_parameter(name, param)

    @property
    def table(self) -> Tensor:
        """The older name of `weight`."""
        return self.weight

    def recipe(self) -> Recipe:
        """Read one row, by the id itself."""
        packed = self._modules.get("weight")
        stored = self.weight if packed is None else cast(Tensor, packed)
        return Recipe((Read("weight", stored, Digit(self.num_embeddings)),))

    def fit_to(self, target: Target) -> None:
        """Copy the table."""
        self.weight.copy_(target.table)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2)."""
        nn.init.normal_(self.weight, std=std)

    def _load_from_state_dict(  # type: ignore[override]
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        """Take a state with the older name, too."""
        for key in [key for key in state_dict if key.startswith(f"{prefix}table")]:
            state_dict[f"{prefix}weight{key[len(prefix) + 5 :]}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer one size."""
        return Sizes(range(1), lambda _: {}, "a full table stores every vector")


@register("small-dim")
class SmallDimEmbedding(TableEmbedding):
    """A narrower table; the missing coordinates are zero.

    A model behind it sees an ``inner_dim``-wide embedding but keeps its own shape.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors that come out.
        inner_dim: Width that is stored, at most ``embedding_dim``.
        **common: See `Common`.

    State: ``table`` (num_embeddings, inner_dim). Drawn with variance embedding_dim / inner_dim,
    so that a row's squared length is that of a full table's.
    """

    card = Card(
        label="small dimension",
        formula="[T[i], 0 ... 0]",
        distinct="always",
        because="every id has a row",
        use_when="As the simplest control at equal bytes.",
        look=("widths", 1),
    )

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, inner_dim: int, **common: Unpack[Common]
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.inner_dim = whole("inner_dim", inner_dim, 1, embedding_dim)
        self.table = self.new_table(num_embeddings, inner_dim)
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Read one narrow row, by the id itself."""
        return Recipe((Read("table", self.table, Digit(self.num_embeddings)),))

    def reading(self) -> Reading:
        """Return the recipe: what it does not fill is zero."""
        return self.recipe()

    def compose(self, ids: Tensor) -> Tensor:
        """Append zeros to the stored coordinates."""
        return F.pad(super().compose(ids), (0, self.embedding_dim - self.inner_dim))

    def fit_to(self, target: Target) -> None:
        """Copy the first coordinates."""
        self.table.copy_(target.table[:, : self.inner_dim])

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table; the mean square over all coordinates of a vector is ``std**2``."""
        nn.init.normal_(self.table, std=std * (self.embedding_dim / self.inner_dim) ** 0.5)

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every width from 1 to ``embedding_dim``."""
        floor = "one number per id is stored at the least, so ratio <= embedding_dim"
        return Sizes.of("inner_dim", range(1, embedding_dim + 1), floor)


@register("truncate")
class TruncatedEmbedding(TableEmbedding):
    """Private rows for the most frequent ids; all others share one.

    Args:
        num_embeddings: Number of ids, sorted by descending frequency.
        embedding_dim: Width of the vectors.
        num_kept: Number of ids that keep a row, K.
        **common: See `Common`.

    State: ``table`` (num_kept + 1, embedding_dim), drawn from N(0, 1); the last row is shared.
    """

    card = Card(
        label="truncate rare",
        formula="T[min(i, K)]",
        distinct="never",
        because="all ids from K on are one",
        use_when="If rare ids carry little; also the control for methods that favour frequent ids.",
        look=("truncated", 0),
    )

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, num_kept: int, **common: Unpack[Common]
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_kept = whole("num_kept", num_kept, 0, num_embeddings - 1)
        self.table = self.new_table(num_kept + 1, embedding_dim)
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Read one row, at min(i, K)."""
        return Recipe((Read("table", self.table, Clamp(self.num_kept)),))

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2)."""
        nn.init.normal_(self.table, std=std)

    def distinctness(self) -> Statement:
        """Return the statement for the number of kept rows."""
        shared = self.num_embeddings - self.num_kept
        if shared == 1:
            return Statement("always", "every id has a row")
        return Statement("never", f"the {shared:,} ids from {self.num_kept:,} on share one row")

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of kept rows from 0 to all but one."""
        return Sizes.of("num_kept", range(num_embeddings), "the shared row is stored at the least")
