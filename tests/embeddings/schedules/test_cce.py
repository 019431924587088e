from __future__ import annotations

import pytest
import torch

import memcom
from memcom.embeddings import CCESchedule
from tests.embeddings.schedules.task import (
    EMBEDDING_DIM,
    NUM_ITEMS,
    NUM_STEPS,
    held_out_loss,
    train,
)


def test_it_clusters_on_time_and_not_after_the_last_step():
    emb = memcom.build("cce", 100, 8, ratio=4)
    schedule = CCESchedule(emb, every=10, last=25)
    maps = [emb.map.clone()]
    for _ in range(40):
        schedule.step(torch.arange(5))
        maps.append(emb.map.clone())
    assert schedule.history == [10, 20]
    changed = [k for k in range(1, 41) if not torch.equal(maps[k], maps[k - 1])]
    assert changed == [10, 20]


def test_moments_of_both_tables_are_forgotten_and_of_nothing_else():
    emb = memcom.build("cce", 100, 8, ratio=4)
    other = torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*emb.parameters(), *other.parameters()])
    other(emb(torch.arange(100))).sum().backward()
    optimizer.step()
    CCESchedule(emb, every=1, last=1, optimizer=optimizer).step(torch.arange(5))
    for table in (emb.centres, emb.residuals):
        assert not optimizer.state[table]["exp_avg"].any()
        assert not optimizer.state[table]["exp_avg_sq"].any()
    assert optimizer.state[other.weight]["exp_avg"].all()


def test_the_same_seed_clusters_alike():
    tables = []
    for _ in range(2):
        torch.manual_seed(0)
        emb = memcom.build("cce", 300, 8, ratio=4)
        CCESchedule(emb, every=1, last=1, seed=3).step(torch.arange(5))
        tables.append(emb.materialize())
    assert torch.equal(*tables)


@pytest.mark.slow
def test_it_learns_through_its_clusterings_on_real_data():
    torch.manual_seed(0)
    emb = memcom.build("cce", NUM_ITEMS, EMBEDDING_DIM, ratio=8)

    def make(model, optimizer):
        return CCESchedule(emb, every=40, last=160, optimizer=optimizer)

    run = train(emb, NUM_STEPS, make)
    assert run.mean_loss(-20, None) < run.mean_loss(0, 20) - 0.1
    assert held_out_loss(run.model) < held_out_loss(None) - 0.05, "popularity is as good"
