"""Batch norm as the layers and the models of the tasks use it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm1d):
    """Batch norm of ``(rows, width)``; fewer than two rows have no variance to divide by.

    They are normalised as in evaluation. Weight decay leaves scale and shift alone.
    """

    undecayed = ("weight", "bias")

    def forward(self, input: Tensor) -> Tensor:
        """Return the rows, normalised."""
        if not self.training or input.shape[0] > 1:
            return super().forward(input)
        mean, variance = self.running_mean, self.running_var
        return F.batch_norm(input, mean, variance, self.weight, self.bias, eps=self.eps)
