"""Ids that are no tensor of integers: a TypeError that says what to pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from tests.embeddings.cases import make
from tests.tools.reference import every_layer

CASES = [
    (np.arange(3), "ndarray; pass torch.from_numpy"),
    ([1, 2], "list; pass torch.tensor"),
    ((1, 2), "tuple; pass torch.tensor"),
    (3, "int; pass torch.tensor"),
    (None, "NoneType"),
    ("ab", "str"),
    (torch.nn.Linear(1, 1), "Linear"),
]


@every_layer
def test_ids_have_to_be_a_tensor(spec):
    layer = make(spec)
    for ids, remedy in CASES:
        for call in (layer, layer.addresses, memcom.EmbeddingBag(layer)):
            with pytest.raises(TypeError, match=f"int32 or int64 tensor, got {remedy}"):
                call(ids)
