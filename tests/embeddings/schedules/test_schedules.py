from __future__ import annotations

import pytest
import torch

import memcom
from memcom import embeddings

PROCEDURES = {
    "pep": embeddings.PEPSchedule,
    "amtl": embeddings.AMTLSchedule,
    "fiited": embeddings.FIITEDSchedule,
    "scall": embeddings.SCALLSchedule,
    "cce": embeddings.CCESchedule,
}


@pytest.mark.parametrize("name", memcom.available())
def test_layers_that_need_a_procedure_get_theirs(name):
    ratio = None if name in ("full", "int8", "int4") else 3
    emb = memcom.build(name, 200, 8, ratio=ratio)
    schedule = embeddings.schedule_for(emb, 100)
    assert type(schedule) is PROCEDURES.get(name, type(None))


@pytest.mark.parametrize("name", PROCEDURES)
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_any_number_of_steps_ends_within_the_budget(name, steps):
    emb = memcom.build(name, 200, 8, ratio=4)
    optimizer = torch.optim.SGD(emb.parameters(), lr=0.1)
    schedule = embeddings.schedule_for(emb, steps, optimizer=optimizer)
    ids = torch.arange(0, 200, 3)
    for _ in range(steps):
        optimizer.zero_grad()
        emb(ids).square().mean().backward()
        optimizer.step()
        schedule.step(ids)
    assert schedule.within_budget
    small = schedule.export()
    assert small.nbytes <= emb.frozen_nbytes <= 4 * 200 * 8 / 4
    assert torch.equal(small.materialize(), emb.eval().materialize())


@pytest.mark.parametrize(("option", "value"), [("prune_steps", 0), ("every", -1)])
def test_senseless_steps_are_refused(option, value):
    emb = memcom.build("amtl", 200, 8, ratio=4)
    with pytest.raises(ValueError, match=f"{option} must be >= 1, got {value}"):
        embeddings.AMTLSchedule(emb, **{"prune_steps": 10, "every": 5, option: value})
