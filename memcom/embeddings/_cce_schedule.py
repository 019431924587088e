"""Training with CCE: the table is clustered anew while it learns.

Tsang and Ahle, "Clustering the Sketch: Dynamic Compression for Embedding Tables", NeurIPS 2023,
https://arxiv.org/abs/2210.05974. The layer, and what `recluster` does, are in
`memcom.embeddings.clustered`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memcom.embeddings._schedule import Schedule, forget_moments
from memcom.embeddings.clustered import CCEEmbedding


class CCESchedule(Schedule[CCEEmbedding]):
    """``for batch: loss.backward(); opt.step(); schedule.step(ids)``, then ``schedule.export()``.

    Args:
        emb: The layer; it has its size from the first step on.
        every: Steps between two clusterings.
        last: No clustering after this step, so that what it moved can settle. The paper stops
            after three quarters of the training.
        optimizer: Forgets its moments of both tables, which mean other ids afterwards.
        seed: Of the samples of k-means and of the new hashes.

    Attributes:
        history: Steps at which the table was clustered.
    """

    def __init__(
        self,
        emb: CCEEmbedding,
        *,
        every: int,
        last: int,
        optimizer: torch.optim.Optimizer | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(emb, prune_steps=1, every=every)
        self.last = last
        self.history: list[int] = []
        self._optimizer = optimizer
        self._generator = torch.Generator().manual_seed(seed)

    def update(self, ids: Tensor) -> None:
        """Cluster, if it is time."""
        if self.steps % self.every or self.steps > self.last:
            return
        self.emb.recluster(generator=self._generator)
        for table in (self.emb.centres, self.emb.residuals):
            forget_moments(self._optimizer, table, torch.arange(len(table), device=table.device))
        self.history.append(self.steps)
