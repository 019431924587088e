"""Training with AMTL: the masks learn from the loss, a price brings them down to the budget.

Yan et al., CIKM 2021, https://arxiv.org/abs/2108.11513. The layer and its formula are in
`memcom.embeddings.amtl`. The paper lets the loss alone decide and reports what came out; the price,
which rises until the budget is met, is this kit's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memcom.embeddings._contract import CompressedEmbedding
from memcom.embeddings._schedule import Schedule
from memcom.embeddings.amtl import AMTLEmbedding


class AMTLSchedule(Schedule[AMTLEmbedding]):
    """``for batch: loss.backward(); opt.step(); schedule.step(ids)``, then ``schedule.export()``.

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
        """Find the price of the numbers that may be in use now."""
        if not self.due:
            return
        emb = self.emb
        allowed = self.allowed(emb.num_embeddings * emb.embedding_dim, emb.num_values)
        emb.price.fill_(emb.price_for(allowed))
        used = sum(int(emb.sizes_of(part).sum()) for part in emb.all_ids())
        self.history.append((self.steps, float(emb.price), used))

    def export(self) -> CompressedEmbedding:
        """The rows in their widths; the training layer's price is brought to the budget, too."""
        with torch.no_grad():
            self.emb.price.fill_(self.emb.price_for(self.emb.num_values))
        return self.emb.freeze()
