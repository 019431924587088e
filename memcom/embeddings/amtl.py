"""AMTL: two small networks decide from an id's frequency how many of its numbers it may use.

Yan et al., "Learning Effective and Efficient Embedding via an Adaptively-Masked Twins-based Layer",
CIKM 2021, https://arxiv.org/abs/2108.11513.

    s = a_i h(f_i) + (1 - a_i) l(f_i) - price * k        one score for each width k = 0, ..., e
    k_i = argmax s,   x_i = v_i * (1, ..., 1, 0, ..., 0)    with k_i ones
    gradient of the mask: that of softmax(s / temperature), passed straight through

h and l are the unshared twins for frequent and for rare ids, f_i the id's frequency and rank, and
a_i a weight that rises with its frequency. The first k_i numbers of every row are stored.

The paper lets the loss alone decide the widths and reports the size that came out. The price is
this kit's way to a wanted size: a Lagrange multiplier. The total width can only fall as it rises,
so bisection finds the price at which a budget is met; `AMTLSchedule` raises it in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, lacks_values
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings.jagged import JaggedEmbedding
from memcom.embeddings.registry import register
from memcom.embeddings.schedules import Schedule, interval
from memcom.kernels import gather_rows

__all__ = ["AMTLEmbedding", "AMTLSchedule"]

HIGHEST_PRICE = 100.0


@register("amtl")
class AMTLEmbedding(CompressedEmbedding):
    """A full table under learned prefix masks; frozen, rows of different widths.

    Args:
        num_embeddings: Number of ids, sorted by descending frequency.
        embedding_dim: Width of the vectors, e.
        num_values: Numbers that are kept in the end, at most.
        hidden_dim: Units of the hidden layer of each twin.
        temperature: Temperature of the softmax whose gradient the mask gets.
        **common: See `Common`.

    State: ``table`` (num_embeddings, e), drawn from N(0, 1); ``hidden`` (2 hidden_dim, 3) and
    ``output`` (2 (e + 1), hidden_dim), the twins; ``frequency`` (num_embeddings, 1), the logarithm
    of the counts on a scale from 0 to 1; ``price`` (1,).

    ``output`` starts at 0. It is added to fixed scores of this kit's choice: ``2 log(1 + k)`` for
    frequent ids and ``log(1 + k)`` for rare ones, so that numbers have diminishing returns and
    frequent ids get more of them before anything is learned. At price 0 every row is full.

    Widths move in jumps, so finite differences do not see the gradient of the twins.
    """

    card = Card(
        label="AMTL",
        formula="the first k(i) numbers of T[i], k: learned",
        distinct="lossy",
        because="rows of width 0 are one",
        use_when="To learn widths from frequency and loss, while training holds a full table.",
        look=("pruning", 1),
        paper=Paper("Yan et al.", 2021, "https://arxiv.org/abs/2108.11513"),
        learns="frequencies",
        note="amtl meets a budget by a price on width; its paper lets the loss alone decide the "
        "widths, and reports the size that comes out.",
    )

    frequency: Tensor
    price: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_values: int,
        hidden_dim: int = 16,
        temperature: float = 1.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_values = whole("num_values", num_values, 1, num_embeddings * embedding_dim)
        self.hidden_dim = whole("hidden_dim", hidden_dim, 1)
        if not temperature > 0:
            raise ValueError(f"temperature must be > 0, got {temperature}")
        self.temperature = float(temperature)
        self.table = self.new_table(num_embeddings, embedding_dim)
        self.hidden = self.new_table(2 * hidden_dim, 3)
        self.output = self.new_table(2 * (embedding_dim + 1), hidden_dim)
        self.register_buffer("frequency", self.new_table(num_embeddings, 1).detach())
        self.register_buffer("price", self.new_table(1, 1).detach()[0])
        self.reset_parameters()

    @torch.no_grad()
    def set_counts(self, counts: Tensor) -> None:
        """Set the frequencies; before that, Zipf's law is assumed.

        Args:
            counts: ``(num_embeddings,)`` occurrences, at least 0, not all 0.

        Raises:
            ValueError: The shape or a value is wrong.
        """
        if counts.shape != (self.num_embeddings,) or not 0 <= counts.min() < counts.max() + 1e-9:
            raise ValueError(
                f"counts must be ({self.num_embeddings},) and >= 0, got {tuple(counts.shape)}"
            )
        logarithm = counts.double().log1p()
        self.frequency.copy_((logarithm / logarithm.max().clamp(min=1e-12)).unsqueeze(1))

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Learn the frequencies."""
        self.set_counts(counts)

    def scores(self, ids: Tensor) -> Tensor:
        """Score the widths 0, ..., e before the price: ``(*ids.shape, e + 1)``."""
        dtype = torch.promote_types(self.table.dtype, torch.float32)
        frequency = self.frequency[ids].to(dtype)
        rank = 1 - ids.unsqueeze(-1).to(dtype).log1p() / math.log1p(self.num_embeddings)
        features = torch.cat([frequency, rank, torch.ones_like(rank)], dim=-1)
        units = (features @ self.hidden.to(dtype).T).relu().unflatten(-1, (2, -1))
        weights = self.output.to(dtype).view(2, -1, self.hidden_dim)
        learned = torch.einsum("...th,twh->...tw", units, weights)
        frequent = torch.sigmoid(4 * (frequency + rank) - 4)
        blended = frequent * learned[..., 0, :] + (1 - frequent) * learned[..., 1, :]
        widths = torch.arange(self.embedding_dim + 1, device=ids.device, dtype=dtype)
        return blended + (1 + frequent) * widths.log1p()

    def compose(self, ids: Tensor) -> Tensor:
        """Show the first k_i numbers, with a gradient for k_i."""
        rows = gather_rows(self.table, ids, sparse=self.sparse)
        scores = self._priced(self.scores(ids), self.price)
        number = torch.arange(self.embedding_dim, device=ids.device)
        hard = (number < scores.argmax(-1, keepdim=True)).to(rows.dtype)
        wider = 1 - (scores / self.temperature).softmax(-1).cumsum(-1)[..., :-1]  # P(k > j)
        soft = wider.to(rows.dtype)
        return rows * (hard + (soft - soft.detach()))

    def _priced(self, scores: Tensor, price: Tensor | float) -> Tensor:
        return scores - price * torch.arange(self.embedding_dim + 1, device=scores.device)

    @torch.no_grad()
    def sizes_of(self, ids: Tensor) -> Tensor:
        """Return the widths of ``ids``, int64 of their shape."""
        ids = check_ids(ids, self.num_embeddings)
        return self._priced(self.scores(ids), self.price).argmax(-1)

    @torch.no_grad()
    def price_for(self, num_values: int) -> float:
        """Return the lowest price, up to bisection, at which all rows have ``num_values``."""
        scores = torch.cat([self.scores(ids) for ids in self.all_ids()])

        def total(price: float) -> int:
            return int(self._priced(scores, price).argmax(-1).sum())

        low, high = 0.0, HIGHEST_PRICE
        if total(low) <= num_values:
            return low
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if total(middle) > num_values else (low, middle)
        return high

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``table``: every id has its own row."""
        return {"table": check_ids(ids, self.num_embeddings)}

    @torch.no_grad()
    def freeze(self) -> CompressedEmbedding:
        """Return the rows in their widths, at a higher price if they exceed ``num_values``.

        On the meta device, where widths are not known, all ``num_values`` numbers.
        """
        if lacks_values(self.table):
            return self.undrawn(JaggedEmbedding, self.table.dtype, num_values=self.num_values)
        sizes = torch.cat([self.sizes_of(ids) for ids in self.all_ids()])
        if int(sizes.sum()) > self.num_values:
            price = self.price_for(self.num_values)
            chunks = (self._priced(self.scores(ids), price) for ids in self.all_ids())
            sizes = torch.cat([scores.argmax(-1) for scores in chunks])
        return JaggedEmbedding.from_table(self.table.detach(), sizes, **self.common)

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2); the twins start anew, at price 0 and Zipf's law."""
        nn.init.normal_(self.table, std=std)
        nn.init.normal_(self.hidden)
        nn.init.zeros_(self.output)
        self.price.zero_()
        if not lacks_values(self.table):
            n = self.num_embeddings
            self.set_counts(n / torch.arange(1, n + 1, device=self.table.device))

    def schedule(self, num_steps: int, **around: Any) -> AMTLSchedule:
        """Return a schedule that reaches the budget in half of the steps."""
        half = max(1, num_steps // 2)
        return AMTLSchedule(self, prune_steps=half, every=interval(num_steps))

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of kept values from 1 to all."""
        return JaggedEmbedding.sizes(num_embeddings, embedding_dim)


class AMTLSchedule(Schedule[AMTLEmbedding]):
    """A price that rises until the budget is met, at every interval.

    Args:
        emb: The layer; call its `set_counts` before, if the counts are known.
        prune_steps: From this step on no more than ``num_values`` numbers are in use, as of the
            last change.
        every: Steps between two changes of the price. Each scores all ids.

    Attributes:
        history: Triples (step, price, numbers in use).
    """

    def __init__(self, emb: AMTLEmbedding, *, prune_steps: int, every: int = 50) -> None:
        super().__init__(emb, prune_steps=prune_steps, every=every)
        self.history: list[tuple[int, float, int]] = []

    def update(self, ids: Tensor) -> None:
        """Set the price at which no more numbers are in use than are allowed now."""
        if not self.due:
            return
        emb = self.emb
        allowed = self.allowed(emb.num_embeddings * emb.embedding_dim, emb.num_values)
        emb.price.fill_(emb.price_for(allowed))
        used = sum(int(emb.sizes_of(part).sum()) for part in emb.all_ids())
        self.history.append((self.steps, float(emb.price), used))

    def export(self) -> CompressedEmbedding:
        """Return the rows in their widths; the layer's price is set to the budget, too."""
        with torch.no_grad():
            self.emb.price.fill_(self.emb.price_for(self.emb.num_values))
        return self.emb.freeze()
