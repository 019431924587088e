"""DHE: no table; a network computes the vector from hashes of the id.

Kang, Cheng, Yao, Yi, Chen, Hong, Chi, "Learning to Embed Categorical Features without Embedding
Tables for Recommendation", KDD 2021, https://arxiv.org/abs/2010.10784.

    code(i) = h_1(i), ..., h_k(i)             k hashes of 32 bits
    x_i = MLP( encode(code(i)) )              encode: to uniform [-1, 1], or to N(0, 1)

Only the network is stored, so the size does not depend on the number of ids, and every number
serves every id. Codes are computed when needed and never kept: keeping them would take k n
numbers, more than the table itself.

The paper has k = 1024 hashes into 10^6 values, five hidden layers, batch norm and Mish. (k and the
number of layers are second-hand.) Here the hashes keep all their 32 bits. Batch norm is off unless
asked for, because with it a vector in training depends on the other ids of its batch; and a budget
buys by default a code and two hidden layers of one width. The paper's shape in a budget, where k
costs no byte but the first matrix has k columns:

    memcom.build("dhe", n, e, ratio=16, widths=[1024] + 5 * [None], batch_norm=True)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import HASH_BITS, check_ids, is_traced, murmur3
from memcom.embeddings._arguments import Sizes, choice, whole
from memcom.embeddings._batch_norm import BatchNorm
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._flat import derived_seeds
from memcom.embeddings.registry import register
from memcom.kernels import all_rows, hash_numbers, mish

__all__ = ["DHEmbedding"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"mish": mish, "relu": F.relu}
PART = 512  # ids per thread that go through the network together: they stay in the cache


@register("dhe")
class DHEmbedding(CompressedEmbedding):
    """``mlp(encode(hashes of i))``.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors, e.
        widths: Width of the code, k, then of each hidden layer. Where a budget is given, None is
            the width that it decides: as large as it can be, and the same wherever None stands.
        encoding: ``"uniform"`` or ``"gaussian"`` (Box-Muller).
        activation: ``"mish"`` or ``"relu"``, after each hidden layer.
        batch_norm: Normalise the hidden layers over the batch, before the activation. A padding
            id counts in the batch; a batch of one id is normalised as in evaluation.
        seed: The hashes are derived from it.
        **common: See `Common`. Nothing is read by rows, so ``sparse`` changes nothing.

    State: ``weights.0`` (out, in), ``biases.0`` (1, out), ...: one pair per hidden layer and one
    for the output; ``norms.0.weight``, ...: as `torch.nn.BatchNorm1d`, if asked for; ``seeds``
    (1,) int64. `reset_parameters` says how it is drawn.
    """

    card = Card(
        label="deep hash",
        formula="MLP(h1(i), ..., hk(i))",
        distinct="by chance",
        because="k hashes of 32 bits hardly ever agree; the network may map two codes alike",
        use_when="If the bytes must not depend on the number of ids, and arithmetic is cheap.",
        look=("factors", 2),
        paper=Paper("Kang et al.", 2021, "https://arxiv.org/abs/2010.10784"),
        slow="multiplies matrices for every id: the network is all that it stores",
        note="dhe is planned with as many hashes as units in each of two hidden layers, without "
        "batch norm; its paper has 1,024 hashes and five hidden layers with batch norm, as has "
        "dhe(widths=[1024,None,None,None,None,None],batch_norm=True).",
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        widths: Sequence[int | None],
        encoding: str = "uniform",
        activation: str = "mish",
        batch_norm: bool = False,
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.widths = [whole("widths", width, 1) for width in widths]
        self.encoding = choice("encoding", encoding, ("uniform", "gaussian"))
        self.activation = choice("activation", activation, tuple(ACTIVATIONS))
        pairs = pairwise([*self.widths, embedding_dim])
        self.weights = nn.ParameterList(self.new_table(b, a) for a, b in pairs)
        self.biases = nn.ParameterList(self.new_table(1, len(w)) for w in self.weights)
        hidden = self.widths[1:] if batch_norm else []
        self.norms = nn.ModuleList(BatchNorm(width, **self._factory) for width in hidden)
        self.add_seeds(seed)
        self.reset_parameters()

    def codes(self, ids: Tensor) -> Tensor:
        """Return the hashes of int64 ``ids``: ``(*ids.shape, k)``, int64 in ``[0, 2**32)``.

        Gaussians are made in pairs, so an odd k takes one hash more.
        """
        return murmur3(ids.unsqueeze(-1), self._hash_seeds())

    def _hash_seeds(self) -> Tensor:
        k = self.widths[0]
        return derived_seeds(self.seeds[0], k + k % 2 if self.encoding == "gaussian" else k)

    def encode(self, codes: Tensor) -> Tensor:
        """Turn hashes into fp32 numbers ``(..., k)``."""
        return self._spread((codes.float() + 0.5) * 2.0**-HASH_BITS)

    def _spread(self, unit: Tensor) -> Tensor:
        """Turn numbers that are uniform in (0, 1] into those of the encoding."""
        if self.encoding == "uniform":
            return 2 * unit - 1
        first, second = unit.chunk(2, dim=-1)
        radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
        pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=-1)
        return pairs[..., : self.widths[0]]

    @property
    def each_once(self) -> bool:  # type: ignore[override]
        """False in training with batch norm: how often an id occurs in the batch matters there."""
        return not (self.norms and self.training)

    def compose(self, ids: Tensor) -> Tensor:
        """Hash, encode, and run the network: on all ids as one batch, or part by part.

        Parts of the batch are enough, and quicker, where nothing is kept for a gradient.
        """
        flat, seeds = ids.reshape(-1), self._hash_seeds()
        matrices = [all_rows(weight).T for weight in self.weights]
        whole_batch = self.norms and self.training
        if torch.is_grad_enabled() or whole_batch or is_traced(ids):
            vectors = self._network(flat, seeds, matrices)
        else:
            parts = flat.split(PART * torch.get_num_threads())
            vectors = torch.cat([self._network(part, seeds, matrices) for part in parts])
        return vectors.reshape(*ids.shape, self.embedding_dim)

    def _network(self, ids: Tensor, seeds: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        if self.encoding == "uniform":
            x = hash_numbers(ids, seeds, -1, 1)
        else:
            x = self._spread(hash_numbers(ids, seeds))
        x = x.to(matrices[0].dtype)
        for j, (matrix, bias) in enumerate(zip(matrices, self.biases, strict=True)):
            if j > 0:
                x = ACTIVATIONS[self.activation](self.norms[j - 1](x) if self.norms else x)
            x = torch.addmm(bias, x, matrix)
        return x

    def row_tables(self) -> list[str]:
        """Name the weights: those of a unit are a row."""
        return [f"weights.{j}" for j in range(len(self.weights))]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the hashes as ``"codes"``: there is no table; ids of equal codes are equal."""
        return {"codes": self.codes(check_ids(ids, self.num_embeddings))}

    def materialize(self, chunk_size: int = 4096) -> Tensor:
        """Return the full table, in small chunks: an id takes k hashes on the way."""
        return super().materialize(chunk_size)

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the network, so that its outputs have variance ``std**2``.

        Weights are normal, scaled to give every unit variance 1 before its activation. Biases
        subtract the mean of the activation, which all vectors would share otherwise.
        """
        mean, variance = 0.0, 1 / 3 if self.encoding == "uniform" else 1.0
        for j, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            gain = std if j == len(self.weights) - 1 else 1.0
            nn.init.normal_(weight, std=gain * (weight.shape[1] * variance) ** -0.5)
            bias.copy_(-mean * weight.sum(dim=-1))
            mean, variance = activation_moments(self.activation)
        for norm in self.norms:
            assert isinstance(norm, BatchNorm)
            norm.reset_parameters()
        self.reset_seeds()

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        widths: Sequence[int | None] = (None, None, None),
        **options: Any,
    ) -> Sizes:
        """Offer widths from 1 up, the same for the code and two hidden layers, or all None."""
        widths = widths if None in widths else (None, None, None)
        scales = range(1, max(1, math.isqrt(num_embeddings * embedding_dim)) + 1)
        floor = "layers of one unit are the smallest network"
        return Sizes(
            scales, lambda scale: {"widths": [scale if w is None else w for w in widths]}, floor
        )


@functools.cache
def activation_moments(activation: str) -> tuple[float, float]:
    """Return mean and variance of an activation of N(0, 1), by numerical integration."""
    z = torch.linspace(-10, 10, 20001, dtype=torch.float64, device="cpu")
    density = torch.softmax(-z * z / 2, dim=0)
    value = ACTIVATIONS[activation](z)
    mean = float((density * value).sum())
    return mean, float((density * value * value).sum()) - mean**2
