from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.embeddings import AMTLSchedule
from tests.embeddings import films as task

N, E = 300, 8
ROWS, WIDTH = 50, 9  # of the layers compared with a formula


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def amtl() -> memcom.AMTLEmbedding:
    torch.manual_seed(0)
    emb = memcom.AMTLEmbedding(ROWS, WIDTH, num_values=150, hidden_dim=5, temperature=0.7)
    torch.nn.init.normal_(emb.output, std=0.3)
    emb.set_counts(torch.arange(ROWS, 0, -1))
    emb.price.fill_(0.5)
    return emb.double()


def amtl_scores(emb: memcom.AMTLEmbedding) -> np.ndarray:
    i, k = np.arange(ROWS), np.arange(WIDTH + 1)
    counts = ROWS - i
    frequency = np.log1p(counts) / np.log1p(ROWS)
    rank = 1 - np.log1p(i) / np.log1p(ROWS)
    x = np.stack([frequency, rank, np.ones(ROWS)], 1)
    hidden, output = emb.hidden.detach().numpy(), emb.output.detach().numpy()
    twins = [
        np.maximum(x @ hidden[5 * t : 5 * t + 5].T, 0) @ output[10 * t : 10 * t + 10].T
        for t in (0, 1)
    ]
    twins[0] = twins[0] + 2 * np.log1p(k)
    twins[1] = twins[1] + np.log1p(k)
    a = sigmoid(4 * (frequency + rank) - 4)[:, None]
    return a * twins[0] + (1 - a) * twins[1] - 0.5 * k


def test_amtl_by_its_formula():
    emb = amtl()
    sizes = amtl_scores(emb).argmax(1)
    assert len(set(sizes)) >= 3
    table = emb.table.detach().numpy()
    expected = np.where(np.arange(WIDTH) < sizes[:, None], table, 0)
    np.testing.assert_allclose(emb.materialize().numpy(), expected, atol=1e-6)
    np.testing.assert_array_equal(emb.sizes_of(torch.arange(ROWS)).numpy(), sizes)


def test_amtl_gradient_is_that_of_the_softmax():
    emb = amtl()
    g = torch.randn(ROWS, WIDTH, dtype=torch.float64)
    (emb(torch.arange(ROWS)) * g).sum().backward()
    # The relaxed vector: every number times the probability that the row is wide enough.
    hidden, output = (p.detach().clone().requires_grad_() for p in (emb.hidden, emb.output))
    table, twins = emb.table.detach(), {"hidden": hidden, "output": output}
    soft = torch.func.functional_call(emb, twins, (torch.arange(ROWS),))
    assert torch.equal(soft, emb(torch.arange(ROWS)))
    scores = torch.tensor(amtl_scores(emb), requires_grad=True)
    p = torch.softmax(scores / 0.7, 1)
    wide = torch.stack([p[:, j + 1 :].sum(1) for j in range(WIDTH)], 1)
    (table * wide * g).sum().backward()
    # d loss / d output through the scores, by hand: outer products with the hidden units.
    i = np.arange(ROWS)
    frequency = np.log1p(ROWS - i) / np.log1p(ROWS)
    rank = 1 - np.log1p(i) / np.log1p(ROWS)
    x = np.stack([frequency, rank, np.ones(ROWS)], 1)
    a = sigmoid(4 * (frequency + rank) - 4)[:, None]
    d = scores.grad.numpy()
    units = np.maximum(x @ emb.hidden.detach().numpy().T, 0)
    expected = np.concatenate([(a * d).T @ units[:, :5], ((1 - a) * d).T @ units[:, 5:]])
    np.testing.assert_allclose(emb.output.grad.numpy(), expected, atol=1e-6)
    sizes = scores.detach().numpy().argmax(1)
    mask = np.arange(WIDTH) < sizes[:, None]
    np.testing.assert_allclose(emb.table.grad.numpy(), g.numpy() * mask, atol=1e-12)


def test_amtl_prices_by_a_scan():
    emb = amtl()
    scores = amtl_scores(emb) + 0.5 * np.arange(WIDTH + 1)

    def total(price: float) -> int:
        return int((scores - price * np.arange(WIDTH + 1)).argmax(1).sum())

    for budget in (400, 150, 40, 3):
        price = emb.price_for(budget)
        assert total(price * (1 + 1e-6) + 1e-6) <= budget
        assert price == 0 or total(price * (1 - 1e-3) - 1e-6) > budget


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
