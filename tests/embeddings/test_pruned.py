"""What PEP, AMTL, FIITED and SCALL freeze to."""

from __future__ import annotations

import pytest
import torch

import memcom

NAMES = ("pep", "amtl", "fiited", "scall")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ratio", [2, 8, 20])
def test_frozen_layers_are_ordinary_and_keep_within_the_plan(name, ratio):
    torch.manual_seed(0)
    plan = memcom.plan(name, 2000, 32, ratio=ratio)
    emb = plan.build(padding_idx=5, sparse=True)
    frozen = emb.freeze()
    assert type(frozen) in (memcom.JaggedEmbedding, memcom.CSREmbedding)
    assert frozen.nbytes <= emb.frozen_nbytes == plan.nbytes <= 4 * 2000 * 32 / ratio
    assert frozen.nbytes > 0.9 * plan.nbytes
    assert (frozen.padding_idx, frozen.sparse) == (5, True)
    assert (frozen(torch.tensor([5, 5])) == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_planning_many_ids(name):
    half = memcom.plan(name, 2000, 32, ratio=8, dtype=torch.bfloat16)
    single = memcom.plan(name, 2000, 32, ratio=8)
    key = "num_chunks" if name == "fiited" else "num_values"
    assert half.arguments[key] > 1.5 * single.arguments[key]
    emb = half.build(dtype=torch.bfloat16)
    assert emb.freeze().nbytes <= half.nbytes
    assert memcom.plan(name, 10**7, 64, ratio=16).nbytes <= 4 * 10**7 * 64 / 16
