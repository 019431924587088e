"""SCALL: row widths that follow popularity as it changes, under a budget that is never exceeded.

Qu et al., "Scalable Dynamic Embedding Size Search for Streaming Recommendation", CIKM 2024,
https://arxiv.org/abs/2407.15411; the sampler of widths is that of the same author's "Budgeted
Embedding Table for Recommender Systems" (BET), WSDM 2024, https://doi.org/10.1145/3616855.3635778.

    x_i = first k_i numbers of v_i,      k_i = floor(c p_rank(i)) + ...,      sum k_i <= num_values

The n-th largest width goes to the n-th most frequent id. `SCALLSchedule` cuts a stream into
segments of ``every`` steps:

1. Explore (first half of a segment). Every ``resample`` steps a new form p is drawn, as BET does,
   so that all numbers within its reach are trained.
2. Search (in the middle). ``candidates`` forms, the present one and a half and twice its exponent
   among them, are tried on validation data by ``reward``, without any training; the best stays.
   The paper trains a soft actor-critic agent for this choice.
3. Settle (second half). The widths stay; they are those of the best form on the present counts.

    power-law    p_r = (r + 1)^-beta                 r = 0 for the most frequent id
    exponential  p_r = exp(-beta r / n)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, lacks_values
from memcom.embeddings._allocation import allocate, power_law
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings.jagged import JaggedEmbedding
from memcom.embeddings.registry import register
from memcom.embeddings.schedules import Schedule
from memcom.kernels import gather_rows

__all__ = ["SCALLEmbedding", "SCALLSchedule"]


@register("scall")
class SCALLEmbedding(CompressedEmbedding):
    """A full table of which every row shows its first k_i numbers; frozen, only these.

    Args:
        num_embeddings: Number of ids, with room for those yet to come.
        embedding_dim: The widest a row may be, e.
        num_values: Numbers of all rows together, never exceeded.
        alpha: Until `set_sizes` is called, k_i is in proportion to ``(i + 1)**-alpha``.
        **common: See `Common`.

    State: ``table`` (num_embeddings, e); ``row_sizes`` (num_embeddings,) int32. Numbers that show
    are drawn so that the mean square over all coordinates is 1, all others are 0. A row that grows
    again shows its earlier numbers, or 0.
    """

    card = Card(
        label="SCALL",
        formula="the first k(i) numbers of T[i], k: by rank",
        distinct="lossy",
        because="rows of width 0 are one",
        use_when="For streams: widths follow popularity within the budget at every step.",
        look=("pruning", 3),
        paper=Paper("Qu et al.", 2024, "https://arxiv.org/abs/2407.15411"),
        note="scall searches 8 forms of the widths on validation data, where its paper trains a "
        "soft actor-critic agent.",
    )

    row_sizes: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_values: int,
        alpha: float = 0.5,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_values = whole("num_values", num_values, 1, num_embeddings * embedding_dim)
        self.alpha = alpha
        self.table = self.new_table(num_embeddings, embedding_dim)
        sizes = torch.empty(num_embeddings, dtype=torch.int32, device=self.table.device)
        self.register_buffer("row_sizes", sizes)
        self.reset_parameters()

    @torch.no_grad()
    def set_sizes(self, sizes: Tensor) -> None:
        """Show other parts of the rows.

        Args:
            sizes: Whole numbers ``(num_embeddings,)`` in ``[0, embedding_dim]``.

        Raises:
            ValueError: They do not fit, or exceed the budget together.
        """
        width, total = self.embedding_dim, int(sizes.sum())
        if sizes.shape != self.row_sizes.shape or not (
            0 <= int(sizes.min()) <= int(sizes.max()) <= width
        ):
            raise ValueError(f"sizes must be ({self.num_embeddings},) in [0, {width}]")
        if total > self.num_values:
            raise ValueError(f"sizes add up to {total}, the budget is {self.num_values}")
        self.row_sizes.copy_(sizes)

    def compose(self, ids: Tensor) -> Tensor:
        """Read the numbers that show."""
        rows = gather_rows(self.table, ids, sparse=self.sparse)
        number = torch.arange(self.embedding_dim, device=ids.device)
        return rows.masked_fill(number >= self.row_sizes[ids].unsqueeze(-1), 0)

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``table``: every id has its own row."""
        return {"table": check_ids(ids, self.num_embeddings)}

    def fit_to(self, target: Target) -> None:
        """Copy the table; the widths stay as they are."""
        self.table.copy_(target.table)

    def freeze(self) -> CompressedEmbedding:
        """Return the numbers that show; on the meta device, ``num_values`` of them."""
        if lacks_values(self.table):
            return self.undrawn(JaggedEmbedding, self.table.dtype, num_values=self.num_values)
        return JaggedEmbedding.from_table(self.table.detach(), self.row_sizes, **self.common)

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the numbers that show; the widths follow the power law again."""
        full = self.num_embeddings * self.embedding_dim
        nn.init.normal_(self.table, std=std * (full / self.num_values) ** 0.5)
        if not lacks_values(self.table):
            weights = power_law(self.num_embeddings, self.alpha, self.table.device)
            self.set_sizes(allocate(weights, self.embedding_dim, self.num_values))
            number = torch.arange(self.embedding_dim, device=self.table.device)
            self.table.masked_fill_(number >= self.row_sizes.unsqueeze(1), 0)

    def schedule(
        self, num_steps: int, *, reward: Callable[[], float] | None = None, **around: Any
    ) -> SCALLSchedule:
        """Return a schedule of five segments."""
        return SCALLSchedule(self, reward=reward, every=max(4, num_steps // 5))

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of values from 1 to all."""
        return JaggedEmbedding.sizes(num_embeddings, embedding_dim)


HIGHEST_BETA = {"power-law": 2.0, "exponential": 20.0}


class Form(NamedTuple):
    """A distribution over ranks: how widths fall with popularity.

    Attributes:
        family: ``"power-law"`` or ``"exponential"``.
        beta: Its exponent, at least 0; 0 gives equal widths.
    """

    family: str
    beta: float

    def weights(self, num_embeddings: int) -> Tensor:
        """Return the weight of each rank, positive, largest 1, float64 ``(n,)``."""
        if self.family == "power-law":
            return power_law(num_embeddings, self.beta)
        rank = torch.arange(num_embeddings, dtype=torch.float64) / num_embeddings
        return torch.exp(-self.beta * rank)


class SCALLSchedule(Schedule[SCALLEmbedding]):
    """Exploration, search and settling of widths, segment by segment.

    Args:
        emb: The layer; its budget holds after every step, from the first.
        reward: Quality of the model on validation data with the widths as they are, larger is
            better. None keeps the layer's own power law, so that only the ranks change.
        every: Steps of a segment.
        resample: Steps between two forms while exploring.
        candidates: Forms that are tried in the middle of a segment.
        decay: Share of the counts that a segment leaves; 1 counts the whole stream alike.
        seed: Seed of the forms that are drawn.

    Attributes:
        form: The form in force since the last search.
        counts: Decayed number of lookups of each id, float64.
        history: For each search a list of pairs (form, reward).

    Raises:
        ValueError: ``decay`` is out of range.
    """

    def __init__(
        self,
        emb: SCALLEmbedding,
        *,
        reward: Callable[[], float] | None = None,
        every: int = 200,
        resample: int = 10,
        candidates: int = 8,
        decay: float = 0.7,
        seed: int = 0,
    ) -> None:
        super().__init__(emb, prune_steps=1, every=every)
        if not 0 < decay <= 1:
            raise ValueError(f"decay must be in (0, 1], got {decay}")
        self.reward, self.decay = reward, decay
        self.resample = whole("resample", resample, 1)
        self.candidates = whole("candidates", candidates, 3)
        self.form = Form("power-law", emb.alpha)
        self.history: list[list[tuple[Form, float]]] = []
        n = emb.num_embeddings
        # Before anything is seen, the order of the ids is their order.
        self.counts = 1e-6 * torch.arange(n, 0, -1, dtype=torch.float64) / n
        self._order = torch.arange(n)
        self._generator = torch.Generator().manual_seed(seed)

    def update(self, ids: Tensor) -> None:
        """Count; then draw, search or keep the widths, by the place in the segment."""
        flat = ids.detach().reshape(-1).long().cpu()
        self.counts.index_add_(0, flat, torch.ones(len(flat), dtype=torch.float64))
        place = self.steps % self.every
        if place == 0:
            self.counts *= self.decay
        elif place == (self.every + 1) // 2:
            self._order = self.counts.argsort(descending=True, stable=True)
            if self.reward is not None:
                self._search(self.reward)
            self._apply(self.form)
        elif self.reward is not None and place < self.every // 2 and place % self.resample == 0:
            self._apply(self._draw())

    def _draw(self) -> Form:
        family, share = torch.rand(2, generator=self._generator).tolist()
        name = list(HIGHEST_BETA)[int(family * len(HIGHEST_BETA))]
        return Form(name, share * HIGHEST_BETA[name])

    def _search(self, reward: Callable[[], float]) -> None:
        near = [self.form._replace(beta=self.form.beta * factor) for factor in (1.0, 0.5, 2.0)]
        tried = []
        for form in near + [self._draw() for _ in range(self.candidates - len(near))]:
            self._apply(form)
            tried.append((form, float(reward())))
        self.history.append(tried)
        self.form = max(tried, key=lambda pair: pair[1])[0]

    def _apply(self, form: Form) -> None:
        """Give the n-th largest width to the n-th most frequent id."""
        emb = self.emb
        weights = form.weights(emb.num_embeddings).clamp(min=1e-12)
        sizes = torch.empty(emb.num_embeddings, dtype=torch.int64)
        sizes[self._order] = allocate(weights, emb.embedding_dim, emb.num_values)
        emb.set_sizes(sizes.to(emb.row_sizes.device))
