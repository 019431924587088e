"""One training step of a ranker: a random division of histories, its loss, an update.

In every epoch each user's training history is divided at random: a part is held out and is to be
predicted from the rest, all of it at once. One history so gives a new sample in every epoch, and
every held-out item is a label. With a single label per history the same model stays at the level
of popularity for tens of epochs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from memcom.data import Interactions
from memcom.tasks.histories import Histories
from memcom.tasks.rankers import Ranker
from memcom.tasks.training_options import TrainingOptions


class Stepper:
    """Optimizer, random divisions and samples of one model: what a training step needs.

    Args:
        model: Trained in place. One without anything to learn cannot make a step.
        data: Gives the popularity that samples are drawn by.
        histories: Training histories of all users.
        options: How to train, by which loss among others.
        seed: Of the divisions and samples, drawn on the CPU so that it means the same on every
            device.
    """

    def __init__(
        self,
        model: Ranker,
        data: Interactions,
        histories: Histories,
        options: TrainingOptions,
        seed: int = 0,
    ) -> None:
        self.model, self.histories, self.options = model, histories, options
        self.device = next(model.parameters()).device
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer = _adamw(model, options)
        self.num_samples = options.samples_for(model.num_items)
        counts = torch.as_tensor(data.item_counts, dtype=torch.float64)
        q = (counts + 1) ** options.popularity  # items never seen are drawn as well
        self.cumulative = torch.cumsum(q, 0)
        self.log_q = torch.log(q / q.sum()).float().to(self.device)

    def step(self, users: Tensor) -> Tensor:
        """One update on the histories of ``users (m,)``; returns the loss, detached."""
        assert self.optimizer is not None
        loss = self.loss(users)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def loss(self, users: Tensor) -> Tensor:
        """Loss on a fresh random division of the histories of ``users (m,)``."""
        histories = self.histories.take(users)
        chosen = torch.rand(len(histories.items), generator=self.generator) < self.options.held_out
        held_out, given = (part.to(self.device) for part in histories.divide(chosen))
        samples = self._draw() if self.num_samples else None
        return self.options.loss(self.model, given, held_out, samples, self.log_q)

    def _draw(self) -> Tensor:
        draws = torch.rand(self.num_samples, generator=self.generator, dtype=torch.float64)
        samples = torch.searchsorted(self.cumulative, draws * self.cumulative[-1])
        return samples.clamp(max=self.model.num_items - 1).to(self.device)


def _adamw(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer | None:
    """AdamW that shrinks every weight but the biases of items; None if nothing is to be learned."""
    learned = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if not learned:
        return None
    biases = [p for n, p in learned if n in ("output_bias", "bias")]
    weights = [p for n, p in learned if n not in ("output_bias", "bias")]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        fused=True,
    )
