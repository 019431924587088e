from __future__ import annotations

import pytest
import torch
from torch import nn

import memcom
from memcom.embeddings import PEPSchedule, follow


class Two(nn.Module):
    """Two tables, one of them behind private rows and rounding, read at different ids."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.first = memcom.build(name, 200, 8, ratio=4)
        self.second = memcom.build(name, 100, 8, ratio=2, head=10, bits=8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.first(ids).square().mean() + self.second(ids // 2).square().mean()


@pytest.mark.parametrize("name", ["pep", "amtl", "fiited", "scall", "cce"])
def test_every_table_is_found_wherever_it_is_and_ends_within_its_budget(name):
    torch.manual_seed(0)
    model = Two(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    procedures = follow(model, 40, optimizer=optimizer)
    assert set(procedures.schedules) == {"first", "second.embedding.tail"}
    for step in range(40):
        model(torch.arange(step, 200, 7)).backward()
        optimizer.step()
        optimizer.zero_grad()
        procedures.step()
    assert procedures.within_budget
    for table, budget in ((model.first, 200 * 8 * 4 / 4), (model.second, 100 * 8 * 4 / 2)):
        assert table.freeze().nbytes <= budget


def test_a_schedule_is_told_the_ids_its_layer_was_called_with_in_training():
    model = Two("scall")
    counts = follow(model, 40).schedules["first"].counts
    procedures = follow(model, 40)
    before = procedures.schedules["first"].counts.clone()
    ids = torch.tensor([3, 3, 150])
    model(ids)
    model.eval()(torch.tensor([7]))  # not training
    with torch.no_grad():
        model.train()(torch.tensor([8]))  # nothing learns from this
    procedures.step()
    told = procedures.schedules["first"].counts - before
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
        procedures = follow(model, 3)
        assert all(isinstance(s, PEPSchedule) for s in procedures.schedules.values())
        with torch.no_grad():
            model.other.weight.add_(1)
        for _ in range(3):
            procedures.step()
        assert procedures.within_budget
        assert torch.equal(model.other.weight, start) == (count == 1)
        assert all((table.mask.sum() <= table.num_values) for table in model.tables)


def test_closed_it_watches_no_more():
    model = Two("fiited")
    procedures = follow(model, 10)
    procedures.close()
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_that_trains_by_itself_needs_nothing():
    procedures = follow(nn.Linear(3, 2), 10)
    procedures.step()
    assert procedures.schedules == {}
    assert procedures.within_budget
