from __future__ import annotations

import pytest
import torch

import memcom
from memcom.embeddings import AMTLSchedule
from tests.embeddings.schedules import task

N, E = 300, 8


def test_the_price_brings_the_widths_down_as_planned_and_to_the_budget():
    torch.manual_seed(0)
    emb = memcom.AMTLEmbedding(N, E, num_values=500)
    torch.nn.init.normal_(emb.output, std=0.1)
    schedule = AMTLSchedule(emb, prune_steps=40, every=10)
    for _ in range(60):
        schedule.step(torch.arange(5))
    assert [step for step, _, _ in schedule.history] == [10, 20, 30, 40, 50, 60]
    prices = [price for _, price, _ in schedule.history]
    assert prices == sorted(prices)
    for step, _, used in schedule.history:
        left = max(0, 1 - step / 40)
        assert used <= 500 + (N * E - 500) * left**3
    assert 450 < schedule.history[-1][2] <= 500


def test_the_twins_learn_from_the_loss():
    # Only the first two numbers of a row are of any use, and the twins find out: at the same
    # price widths fall from above 2 to 2.
    torch.manual_seed(0)
    emb = memcom.AMTLEmbedding(20, E, num_values=40)
    emb.price.fill_(0.25)
    ids = torch.arange(20)
    before = emb.sizes_of(ids)
    assert (before > 2).all()
    optimizer = torch.optim.Adam([emb.hidden, emb.output], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        vectors = emb(ids)
        loss = (vectors[:, :2] - emb.table[:, :2].detach()).square().sum()
        (loss + vectors[:, 2:].square().sum()).backward()
        optimizer.step()
    assert (emb.sizes_of(ids) == 2).float().mean() > 0.9


@pytest.mark.slow
def test_trains_on_films():
    ratio = 12
    emb = memcom.build("amtl", task.NUM_ITEMS, task.EMBEDDING_DIM, ratio=ratio)
    emb.set_counts(task.films().counts)
    schedule = AMTLSchedule(emb, prune_steps=120, every=10)
    run = task.train(emb, make_schedule=lambda model, optimizer: schedule)
    task.check(run, schedule, emb.num_values, ratio)
    sizes = schedule.export().sizes_of(torch.arange(task.NUM_ITEMS)).double()
    assert sizes[:200].mean() > sizes[-200:].mean()  # popular films get more numbers
