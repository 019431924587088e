"""Training with PEP: thresholds rise, the mask freezes, what is left starts again.

Liu et al., ICLR 2021, https://arxiv.org/abs/2101.07577 (section 3.4). The layer and its formula
are in `memcom.embeddings.pep`.

1. Search. The loss moves the thresholds against each other. Besides, all of them rise together,
   by just so much that no more weights are above them than are allowed by now. (In the authors'
   code it is weight decay that raises them, at a rate that nobody chose.)
2. Mask. When ``num_values`` weights are left these become the mask, for good, and the thresholds
   are switched off.
3. Retrain. Every weight of the mask goes back to where it was when the schedule was made (the
   lottery ticket), and so does all of ``model``, if given.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from memcom.embeddings._schedule import Schedule
from memcom.embeddings.pep import OFF, PEPEmbedding


class PEPSchedule(Schedule[PEPEmbedding]):
    """``for batch: loss.backward(); opt.step(); schedule.step(ids)``, then ``schedule.export()``.

    Args:
        emb: The layer, freshly drawn: its values now are what stage 3 goes back to.
        prune_steps: Steps of stage 1.
        every: Steps between two rises. Each looks at the whole table.
        model: Rewound with the layer if given; may contain the layer.
        optimizer: Forgets its moments when the mask freezes.

    Attributes:
        masked_at: Step at which the mask froze, or None.
        history: Pairs (step, weights above their threshold), one for every rise.
    """

    def __init__(
        self,
        emb: PEPEmbedding,
        *,
        prune_steps: int,
        every: int = 50,
        model: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        super().__init__(emb, prune_steps=prune_steps, every=every)
        self.masked_at: int | None = None
        self.history: list[tuple[int, int]] = []
        self._module = emb if model is None else model
        self._initial = copy.deepcopy(self._module.state_dict())
        self._initial_table = emb.table.detach().clone()
        self._optimizer = optimizer

    def update(self, ids: Tensor) -> None:
        """Let the thresholds rise; freeze the mask when few enough weights are left."""
        if self.masked_at is not None or not self.due:
            return
        emb = self.emb
        self._rise(self.allowed(emb.table.numel(), emb.num_values))
        left = int((emb.margins() > 0).sum())
        self.history.append((self.steps, left))
        if left <= emb.num_values or self.steps >= self.prune_steps:
            self._freeze_mask()

    def _rise(self, allowed: int) -> None:
        """Raise all thresholds alike until at most ``allowed`` weights are above theirs."""
        emb = self.emb
        share = (emb.table.abs() / emb.reach).clamp(1e-30, 1 - 1e-6)
        room = torch.logit(share) - emb.threshold  # a rise by more than this cuts the weight
        if allowed < room.numel():
            first_cut = room.flatten().kthvalue(room.numel() - allowed).values
            emb.threshold.add_(first_cut.clamp(min=0))

    def _freeze_mask(self) -> None:
        kept = self.emb.kept()
        self._module.load_state_dict(self._initial)
        self.emb.table.copy_(self._initial_table)
        self.emb.mask.copy_(kept)
        self.emb.threshold.fill_(OFF).requires_grad_(False)
        self.emb.threshold.grad = None
        if self._optimizer is not None:
            self._optimizer.state.clear()
        self.masked_at = self.steps
        self._initial = {}
        del self._initial_table
