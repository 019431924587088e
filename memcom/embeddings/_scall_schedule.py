"""Training with SCALL: a stream is counted, and the widths follow it within the budget.

Qu et al., CIKM 2024, https://arxiv.org/abs/2407.15411, with the sampler of BET (WSDM 2024). The
layer is in `memcom.embeddings.scall`. The stream is cut into segments of ``every`` steps:

1. Explore (first half of a segment). Every ``resample`` steps a new form p is drawn, as BET does,
   so that all numbers within its reach are trained.
2. Search (in the middle). ``candidates`` forms, the present one and a half and twice its exponent
   among them, are tried on validation data by ``reward``, without any training; the best stays.
   The paper trains a soft actor-critic agent for this choice.
3. Settle (second half). The widths stay; they are those of the best form on the ids as counted.

    power-law    p_r = (r + 1)^-beta                 r = 0 for the most frequent id
    exponential  p_r = exp(-beta r / n)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from memcom.embeddings._allocation import allocate, power_law
from memcom.embeddings._arguments import whole
from memcom.embeddings._schedule import Schedule
from memcom.embeddings.scall import SCALLEmbedding

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
        """Weight of each rank, positive, largest 1, float64 ``(n,)``."""
        if self.family == "power-law":
            return power_law(num_embeddings, self.beta)
        rank = torch.arange(num_embeddings, dtype=torch.float64) / num_embeddings
        return torch.exp(-self.beta * rank)


class SCALLSchedule(Schedule[SCALLEmbedding]):
    """``for batch: loss.backward(); opt.step(); schedule.step(ids)``, then ``schedule.export()``.

    Args:
        emb: The layer; its budget holds after every step, from the first.
        reward: Quality of the model on validation data with the widths as they are, larger is
            better. None keeps the layer's own power law, so that only the ranks change.
        every: Steps of a segment.
        resample: Steps between two forms while exploring.
        candidates: Forms that are tried at the end of a segment.
        decay: What a segment leaves of the counts before it; 1 counts the whole stream alike.
        seed: Of the forms that are drawn.

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
        """Count; then draw, search or leave the widths, as the place in the segment says."""
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
        """The n-th largest width to the n-th most frequent id."""
        emb = self.emb
        weights = form.weights(emb.num_embeddings).clamp(min=1e-12)
        sizes = torch.empty(emb.num_embeddings, dtype=torch.int64)
        sizes[self._order] = allocate(weights, emb.embedding_dim, emb.num_values)
        emb.set_sizes(sizes.to(emb.row_sizes.device))
