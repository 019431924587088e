"""Path-based composition: one row, sent through small maps that the rest of the id chooses.

Shi, Mudigere, Naumov, Yang, "Compositional Embeddings Using Complementary Partitions for
Memory-Efficient Recommendation Systems", KDD 2020, https://arxiv.org/abs/1909.02107, the
"path-based" composition.

    x_i = M_k[a_k(i)] ( ... M_2[a_2(i)] ( T[a_1(i)] ) )        a_j: digits of i in mixed radix

    linear           M[c](x) = x W_c
    one hidden layer M[c](x) = phi(x W_c + b_c) W'_c + b'_c

Quotient-remainder whose quotient is not a row but a function. No two ids take the same path, so
vectors are equal by accident only. phi is a leaky ReLU for that reason: with a plain one, all ids
for which a narrow layer's units are off would be the same. A map costs e^2 numbers (or
2 h e + h + e), so there should be few classes.

Ids are sorted by class, and each map is applied to the vectors of its class by one matrix product;
several partitions share what their prefixes have in common. In graphs and transforms of torch,
where no shape may depend on the data, every map is applied to every vector, and each vector keeps
the one of its class. Fetching a map per id would need e^2 numbers each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, is_traced, mixed_radix_digits
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import class_product, dedup, gather_rows

__all__ = ["PathEmbedding"]

SLOPE = 0.01  # of the leaky ReLU
WORTH_A_CALL = 4096  # numbers that are fetched in the time of one small matrix product


@register("path")
class PathEmbedding(CompressedEmbedding):
    """``table[a_1(i)]``, mapped by ``transforms.0[a_2(i)]``, ``transforms.1[a_3(i)]``, ...

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        radices: Rows of the table, then classes of each further partition: least significant
            digit first. At least two, with a product of at least n.
        hidden_dim: Width of the hidden layer of each map, h; None for a linear map.
        **common: See `Common`. ``sparse`` concerns ``table``; the maps' gradients are dense.

    Raises:
        ValueError: There are fewer than two radices, or they multiply to less than
            ``num_embeddings``.

    State: ``table`` (radices[0], e) drawn from N(0, 1); ``transforms.0``, ``transforms.1``, ...:
    (classes, numbers of a map), a row being one map: W (e x e), or W (e x h), b (h), W' (h x e)
    and b' (e) one after the other. W is drawn from N(0, 1 / e), W' so that the hidden layer keeps
    the variance, b is 0, and b' takes away the mean that the activation brings in.
    """

    card = Card(
        label="path-based",
        formula="M[i div m](T[i mod m]), M: small maps",
        distinct="generic",
        because="no two ids take the same path",
        use_when="To study composition by functions instead of rows; lookups are slow.",
        look=("partitions", 3),
        paper=Paper("Shi et al.", 2020, "https://arxiv.org/abs/1909.02107"),
        slow="runs a small network for the quotient of every id",
    )

    each_once = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        radices: Sequence[int],
        hidden_dim: int | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.radices = [whole("radices", m, 1) for m in radices]
        if len(self.radices) < 2 or math.prod(self.radices) < num_embeddings:
            raise ValueError(
                f"radices must be at least two numbers that multiply to >= {num_embeddings}, "
                f"got {self.radices}"
            )
        if hidden_dim is not None:
            whole("hidden_dim", hidden_dim, 1)
        self.hidden_dim = hidden_dim
        self.table = self.new_table(self.radices[0], embedding_dim)
        numbers = map_numbers(embedding_dim, hidden_dim)
        self.transforms = nn.ParameterList(self.new_table(m, numbers) for m in self.radices[1:])
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Fetch a row, then apply one map per further partition."""
        if is_traced(ids):
            return self._by_every_map(ids)
        flat = ids.reshape(-1)
        return self._prefix(flat, len(self.transforms)).view(*ids.shape, self.embedding_dim)

    def _by_every_map(self, ids: Tensor) -> Tensor:
        """Apply all maps to all vectors: no shape depends on the ids."""
        first, *others = mixed_radix_digits(self.radices)
        vectors = gather_rows(self.table, first(ids), sparse=self.sparse)
        for digit, maps in zip(others, self.transforms, strict=True):
            classes = digit(ids).unsqueeze(-1)
            mapped = torch.zeros_like(vectors)
            for c, parts in enumerate(zip(*map(torch.unbind, self._parts(maps)), strict=True)):
                mapped = torch.where(classes == c, self._map(parts, vectors), mapped)
            vectors = mapped
        return vectors

    def _prefix(self, ids: Tensor, depth: int) -> Tensor:
        """Vectors ``(ids, e)`` of the row and the first ``depth`` maps of flat ``ids``."""
        if depth == 0:
            return gather_rows(self.table, ids, sparse=self.sparse)
        span = math.prod(self.radices[:depth])
        classes = torch.remainder(ids // span, self.radices[depth])
        if bool((classes[1:] < classes[:-1]).any()):
            order = classes.argsort()
            vectors = self._prefix(ids[order], depth)
            return F.embedding(order.argsort(), vectors)
        before = partial(self._prefix, depth=depth - 1)
        rest = torch.remainder(ids, span)
        vectors = before(rest) if depth == 1 else dedup(rest, before)
        return self._by_class(vectors, classes, self.transforms[depth - 1])

    def _by_class(self, vectors: Tensor, classes: Tensor, maps: Tensor) -> Tensor:
        """Map ``(ids, e)`` vectors, whose classes ascend, each by the map of its class."""
        parts = self._parts(maps)
        sizes = torch.bincount(classes, minlength=len(maps)).tolist()
        if maps.shape[1] * len(classes) <= WORTH_A_CALL * len(sizes):
            own = [p[classes] if p.ndim == 3 else p[classes, None] for p in parts]
            return self._map(own, vectors.unsqueeze(-2)).squeeze(-2)
        vectors = class_product(vectors, parts[0], sizes)
        if self.hidden_dim is None:
            return vectors
        _, bias, weight_out, bias_out = parts
        hidden = F.leaky_relu(vectors + bias.index_select(0, classes), SLOPE)
        return class_product(hidden, weight_out, sizes) + bias_out.index_select(0, classes)

    def _map(self, parts: Sequence[Tensor], vectors: Tensor) -> Tensor:
        if self.hidden_dim is None:
            return vectors @ parts[0]
        weight, bias, weight_out, bias_out = parts
        return F.leaky_relu(vectors @ weight + bias, SLOPE) @ weight_out + bias_out

    def _parts(self, numbers: Tensor) -> list[Tensor]:
        """Matrices and biases as views of ``(..., numbers of a map)``."""
        e, h = self.embedding_dim, self.hidden_dim
        shapes: list[tuple[int, ...]] = [(e, e)] if h is None else [(e, h), (h,), (h, e), (e,)]
        pieces = numbers.split([math.prod(shape) for shape in shapes], dim=-1)
        return [p.unflatten(-1, shape) for p, shape in zip(pieces, shapes, strict=True)]

    def row_tables(self) -> list[str]:
        """Name the first partition's rows; the maps of the others stay as they are."""
        return ["table"]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the row of ``table`` and the map of each further partition."""
        ids = check_ids(ids, self.num_embeddings)
        names = ["table", *(f"transforms.{j}" for j in range(len(self.transforms)))]
        digits = mixed_radix_digits(self.radices)
        return {name: digit(ids) for name, digit in zip(names, digits, strict=True)}

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw everything, so that a composed row has variance ``std**2``: maps preserve it."""
        nn.init.normal_(self.table, std=std)
        for maps in self.transforms:
            nn.init.normal_(maps)
            weight, *hidden = self._parts(maps)
            weight.mul_(self.embedding_dim**-0.5)
            if self.hidden_dim is not None:
                mean = (1 - SLOPE) / math.sqrt(2 * math.pi)  # moments of phi, given N(0, 1)
                variance = (1 + SLOPE**2) / 2 - mean**2
                bias, weight_out, bias_out = hidden
                bias.zero_()
                weight_out.mul_((self.hidden_dim * variance) ** -0.5)
                bias_out.copy_(-std * mean * weight_out.sum(dim=-2))

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        hidden_dim: int | None = None,
        **options: Any,
    ) -> Sizes:
        """Offer two partitions: tables from where table and maps together are smallest, to n rows.

        If ``hidden_dim`` is left open, maps with a narrow hidden layer, 1, 2, ... wide, come first:
        they are cheaper than linear ones.
        """

        def smallest(width: int | None) -> int:
            rows = math.isqrt(num_embeddings * map_numbers(embedding_dim, width) // embedding_dim)
            return min(max(1, rows), num_embeddings)

        def radices(rows: int) -> list[int]:
            return [rows, -(-num_embeddings // rows)]

        def arguments(scale: int) -> dict[str, Any]:
            if scale < narrow:
                return {"radices": radices(smallest(scale + 1)), "hidden_dim": scale + 1}
            return {"radices": radices(smallest(hidden_dim) + scale - narrow)}

        narrow = (embedding_dim - 1) // 2 if hidden_dim is None else 0
        numbers = map_numbers(embedding_dim, hidden_dim or 1)
        floor = f"a map takes at least {numbers} numbers, and with fewer rows there are more maps"
        scales = range(narrow + num_embeddings - smallest(hidden_dim) + 1)
        return Sizes(scales, arguments, floor)


def map_numbers(embedding_dim: int, hidden_dim: int | None) -> int:
    """Numbers of one map from e to e coordinates, linear or with a hidden layer."""
    e, h = embedding_dim, hidden_dim
    return e * e if h is None else e * h + h + h * e + e
