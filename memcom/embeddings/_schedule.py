"""What all training procedures have in common."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from memcom.embeddings._arguments import whole
from memcom.embeddings._contract import CompressedEmbedding

Layer = TypeVar("Layer", bound=CompressedEmbedding)


class Schedule(Generic[Layer]):
    """Called once after every step of an optimizer; changes what a layer may use.

    A subclass defines `update`. It works on any model, which only has to contain the layer.

    Args:
        emb: The layer.
        prune_steps: Steps after which the layer has come down to its budget.
        every: Steps between two changes.

    Raises:
        ValueError: A number of steps is not positive.
    """

    def __init__(self, emb: Layer, *, prune_steps: int, every: int) -> None:
        self.emb = emb
        self.prune_steps = whole("prune_steps", prune_steps, 1)
        self.every = whole("every", every, 1)
        self.steps = 0

    def step(self, ids: Tensor) -> None:
        """Note one optimizer step.

        Args:
            ids: The ids of the batch, int32 or int64 of any shape.
        """
        self.steps += 1
        with torch.no_grad():
            self.update(ids)

    def update(self, ids: Tensor) -> None:
        """What is to be done after step number ``self.steps``."""
        raise TypeError(f"{type(self).__name__} does not say what it does after a step")

    @property
    def due(self) -> bool:
        """Whether this step ends an interval, or the time for pruning."""
        return self.steps % self.every == 0 or self.steps == self.prune_steps

    @property
    def within_budget(self) -> bool:
        """Whether the layer has become as small as it has to be."""
        return self.steps >= self.prune_steps

    def allowed(self, start: int, end: int) -> int:
        """How much may be in use now: from ``start`` down to ``end`` at ``prune_steps``.

        The cube of the time left: fast while there is much to spare, slow towards the end
        (Zhu and Gupta, "To prune, or not to prune", 2017, https://arxiv.org/abs/1710.01878).
        """
        left = max(0.0, 1 - self.steps / self.prune_steps)
        return end + int((start - end) * left**3)

    def export(self) -> CompressedEmbedding:
        """The ordinary layer that is stored: within the budget, whatever the step."""
        return self.emb.freeze()

    def close(self) -> None:
        """Stop watching the layer, for a schedule that does."""


def forget_moments(
    optimizer: torch.optim.Optimizer | None, table: nn.Parameter, rows: Tensor
) -> None:
    """Set what an optimizer remembers about some rows of a table to zero."""
    if optimizer is not None:
        for moment in optimizer.state.get(table, {}).values():
            if isinstance(moment, Tensor) and moment.shape == table.shape:
                moment[rows] = 0
