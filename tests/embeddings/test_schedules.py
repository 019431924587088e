from __future__ import annotations

import pytest
import torch
from torch import nn

import memcom
from memcom import embeddings
from memcom.embeddings import PEPSchedule, Regularizers, attach

SCHEDULES = {
    "pep": embeddings.PEPSchedule,
    "amtl": embeddings.AMTLSchedule,
    "fiited": embeddings.FIITEDSchedule,
    "scall": embeddings.SCALLSchedule,
    "cce": embeddings.CCESchedule,
    **dict.fromkeys(("pq", "rq"), embeddings.CodesSchedule),
}


@pytest.mark.parametrize("name", memcom.available())
def test_layers_that_need_a_schedule_get_theirs(name):
    ratio = None if name in ("full", "int8", "int4") else 3
    emb = memcom.build(name, 200, 8, ratio=ratio)
    schedule = embeddings.schedule_for(emb, 100)
    assert type(schedule) is SCHEDULES.get(name, type(None))


@pytest.mark.parametrize("name", SCHEDULES)
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


class Two(nn.Module):
    """Two tables, one of them behind private rows and rounding, read at different ids."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.first = memcom.build(name, 200, 8, ratio=4)
        self.second = memcom.build(name, 100, 8, ratio=2, head=10, bits=8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.first(ids).square().mean() + self.second(ids // 2).square().mean()


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_table_is_found_wherever_it_is_and_ends_within_its_budget(name):
    torch.manual_seed(0)
    model = Two(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedules = attach(model, 40, optimizer=optimizer)
    assert set(schedules.schedules) == {"first", "second.embedding.tail"}
    for step in range(40):
        model(torch.arange(step, 200, 7)).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedules.step()
    assert schedules.within_budget
    for table, budget in ((model.first, 200 * 8 * 4 / 4), (model.second, 100 * 8 * 4 / 2)):
        assert table.freeze().nbytes <= budget


def test_a_schedule_is_told_the_ids_its_layer_was_called_with_in_training():
    model = Two("scall")
    counts = attach(model, 40).schedules["first"].counts
    schedules = attach(model, 40)
    before = schedules.schedules["first"].counts.clone()
    ids = torch.tensor([3, 3, 150])
    model(ids)
    model.eval()(torch.tensor([7]))  # not training
    with torch.no_grad():
        model.train()(torch.tensor([8]))  # nothing learns from this
    schedules.step()
    told = schedules.schedules["first"].counts - before
    assert told.nonzero().flatten().tolist() == [3, 150]
    assert told[[3, 150]].tolist() == pytest.approx([2, 1])
    assert counts.shape == (200,)


def test_one_pep_table_rewinds_the_whole_model_two_only_themselves():
    class One(nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.tables = nn.ModuleList(memcom.build("pep", 50, 8, ratio=4) for _ in range(count))
            self.other = nn.Linear(8, 1)

    for count in (1, 2):
        torch.manual_seed(0)
        model = One(count)
        start = model.other.weight.detach().clone()
        schedules = attach(model, 3)
        assert all(isinstance(s, PEPSchedule) for s in schedules.schedules.values())
        with torch.no_grad():
            model.other.weight.add_(1)
        for _ in range(3):
            schedules.step()
        assert schedules.within_budget
        assert torch.equal(model.other.weight, start) == (count == 1)
        assert all((table.mask.sum() <= table.num_values) for table in model.tables)


def test_closed_it_watches_no_more():
    model = Two("fiited")
    schedules = attach(model, 10)
    schedules.close()
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_every_call_in_training_adds_its_term_once():
    torch.manual_seed(0)
    model = nn.ModuleList(
        memcom.build("dpq", 100, 8, ratio=2, form=form, **own)
        for form, own in (("centroid", {"head": 10}), ("centroid", {}), ("softmax", {}))
    )
    regularizers = Regularizers(model)
    assert regularizers.loss() == 0
    first, second = torch.arange(40), torch.tensor([[3, 3], [50, 99]])
    for layer in model:
        layer(first), layer(second)
        with torch.no_grad():
            layer(first)
        layer.eval()
        layer(first)
    term = regularizers.loss()
    behind, alone, _ = model
    expected = behind.tail.regularizer(first[10:] - 10) + alone.regularizer(first)
    expected += behind.tail.regularizer(torch.tensor([40, 89])) + alone.regularizer(second)
    torch.testing.assert_close(term, expected)
    assert regularizers.loss() == 0
    regularizers.close()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_that_trains_by_itself_needs_nothing():
    schedules = attach(nn.Linear(3, 2), 10)
    schedules.step()
    assert schedules.schedules == {}
    assert schedules.within_budget
