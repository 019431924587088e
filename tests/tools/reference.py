"""The same vectors by `torch.nn.Embedding`, for tests of what torch's tools do to a layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import memcom
from tests.embeddings.cases import SPECS

every_layer = pytest.mark.parametrize("spec", SPECS)


def trained(layer: nn.Module) -> dict[str, Tensor]:
    """The parameters that want a gradient, detached."""
    return {name: p.detach() for name, p in layer.named_parameters() if p.requires_grad}


def gradients(layer: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    """Gradients of the sum of squares, by plain autograd and the plain lookup."""
    wanted = {name: p for name, p in layer.named_parameters() if p.requires_grad}
    with memcom.kernels.plain():
        found = torch.autograd.grad(layer(ids).square().sum(), list(wanted.values()))
    return dict(zip(wanted, found, strict=True))


def full_table(layer: memcom.CompressedEmbedding) -> nn.Embedding:
    """The layer's vectors as a `torch.nn.Embedding`."""
    with memcom.kernels.plain():
        table = layer.materialize()
    return nn.Embedding.from_pretrained(table, padding_idx=layer.padding_idx)
