"""References against their papers' equations, in NumPy with dense matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks import HeldOut, Setting, evaluate, get_task
from memcom.tasks.histories import Histories
from memcom.tasks.ranking import references
from memcom.tasks.ranking.references import REFERENCES, fit_reference, least_squares
from tests.tasks.data import planted


def matrix(data, split=0):
    """Users by items, 1 where a pair is in the split."""
    x = np.zeros((data.num_users, data.num_items))
    x[data.user[data.split == split], data.item[data.split == split]] = 1
    return x


def scores(model, x):
    """The model's scores for the histories that are the rows of a matrix."""
    users, items = np.nonzero(x)
    lengths = torch.from_numpy(np.bincount(users, minlength=len(x)))
    histories = Histories.from_lengths(lengths, torch.from_numpy(items))
    with torch.no_grad():
        return model(histories.items, histories.offsets).numpy()


@pytest.fixture(scope="module")
def data():
    return planted()


def test_ease_is_the_regression_of_each_item_on_the_others(data):
    """Ridge regression with a zero diagonal, column by column: the problem that (8) solves."""
    x = matrix(data)
    for point, model in REFERENCES["ease"].candidates(data, 0, 10):
        weight = model.weight.numpy()
        for item in (0, 17, 59):
            others = np.delete(x, item, axis=1)
            left = others.T @ others + point["l2"] * np.eye(59)
            column = np.linalg.solve(left, others.T @ x[:, item])
            assert np.delete(weight[:, item], item) == pytest.approx(column, rel=1e-3, abs=1e-6)
            assert weight[item, item] == 0
        assert scores(model, x) == pytest.approx(x @ weight, abs=1e-4)


def test_items_without_training_give_and_get_no_score_of_ease(data):
    unseen = replace(data, num_items=62, item_counts=np.r_[data.item_counts, 0, 0],
                     item_names=np.append(data.item_names, ["a", "b"]))  # fmt: skip
    one, more = (next(REFERENCES["ease"].candidates(d, 0, 10))[1].weight for d in (data, unseen))
    assert torch.equal(more[:60, :60], one)
    assert not more[60:].any()
    assert not more[:, 60:].any()


def test_neighbours_are_the_nearest_by_cosine(data, monkeypatch):
    monkeypatch.setattr(references, "NEIGHBOURS", 5)
    x = matrix(data)
    for point, model in REFERENCES["itemknn"].candidates(data, 0, 10):
        norm = np.linalg.norm(x, axis=0)
        cosine = x.T @ x / (norm[:, None] * norm + point["shrinkage"])
        np.fill_diagonal(cosine, 0)
        expected = np.zeros((len(x), 60))
        for item in range(60):
            kept = np.sort(cosine[:, item])[-5:]
            near = model.nearest[item].numpy()
            assert np.sort(cosine[near, item]) == pytest.approx(kept, rel=1e-5)
            expected[:, item] = x[:, near] @ cosine[near, item]
        assert scores(model, x) == pytest.approx(expected, abs=1e-5)


def test_least_squares_are_at_the_minimum_of_the_loss_of_ials():
    """By the gradient of the whole loss, which automatic differentiation gives."""
    torch.manual_seed(0)
    y = torch.randn(30, 6, dtype=torch.float64)
    x = torch.rand(20, 30) < torch.linspace(0, 0.9, 20)[:, None]  # the first history is empty
    histories = Histories.from_lengths(x.sum(1), x.nonzero()[:, 1])
    solved = least_squares(histories, y, unobserved=0.2, l2=0.05).requires_grad_()
    predicted = solved @ y.T
    loss = ((predicted - 1) ** 2 * x).sum() + 0.2 * (predicted**2).sum()
    loss = loss + 0.05 * ((x.sum(1) + 0.2 * 30) * (solved**2).sum(1)).sum()
    (gradient,) = torch.autograd.grad(loss, solved)
    assert gradient.abs().max() < 1e-6  # the penalty is in float32
    assert not solved[0].any()


def test_histories_of_many_lengths_are_solved_in_parts():
    torch.manual_seed(0)
    y = torch.randn(400, 3)
    lengths = torch.randint(0, 400, (700,))
    items = torch.cat([torch.randperm(400)[:length] for length in lengths])
    histories = Histories.from_lengths(lengths, items)
    together = least_squares(histories, y, unobserved=0.1, l2=0.01)
    for user in (0, 350, 699):
        alone = least_squares(histories.take(torch.tensor([user])), y, unobserved=0.1, l2=0.01)
        assert together[user] == pytest.approx(alone[0], rel=1e-3, abs=1e-5)


def test_bpr_ranks_users_by_id_and_learns_the_groups(data):
    chosen = fit_reference("bpr", data, k=5)
    held_out = HeldOut.of(data, "test")
    found = evaluate(chosen.model, held_out, k=5)
    users = held_out.users
    with torch.no_grad():
        by_hand = chosen.model.users @ chosen.model.items.T + chosen.model.bias
        ranked = chosen.model.rank(users[3:5], held_out.known.take(torch.tensor([3, 4])))
    assert torch.allclose(ranked, by_hand[users[3:5]], atol=1e-5)
    assert found.ndcg.mean() > 0.3  # by chance 0.03


@pytest.mark.parametrize("name", REFERENCES)
def test_validation_chooses_and_the_seed_decides(data, name):
    chosen = fit_reference(name, data, k=5, seed=1)
    held_out = HeldOut.of(data, "valid")
    every = REFERENCES[name].candidates(data, 1, 5)
    values = [(float(evaluate(model, held_out, k=5).ndcg.mean()), point) for point, model in every]
    assert (chosen.valid, chosen.point) == max(values, key=lambda value: value[0])
    outcome = get_task("ranking").run(
        Setting("ranking", name, seed=1, options={"k": 5}), data, "cpu"
    )
    assert outcome.valid == chosen.valid
    found = evaluate(chosen.model, HeldOut.of(data, "test"), k=5)
    assert np.array_equal(outcome.units["ndcg"], found.ndcg)
    assert outcome.metrics.items() >= chosen.point.items()


@pytest.mark.parametrize("name", REFERENCES)
def test_bytes_are_those_planned(data, name):
    setting = Setting("ranking", name, options={"k": 5})
    size = get_task("ranking").size(setting, data)
    assert (size.nbytes, size.full_nbytes) == (REFERENCES[name].nbytes(200, 60), 0)
    assert get_task("ranking").run(setting, data, "cpu").size == size
    if name == "ease":
        assert size.nbytes == 4 * 60 * 60


def test_ease_says_for_how_many_items_it_is_computed(data):
    many = replace(data, num_items=20_001, item_counts=np.zeros(20_001, np.int64),
                   item_names=np.arange(20_001).astype(str))  # fmt: skip
    with pytest.raises(memcom.BudgetError, match="at most 20,000 items, planted has 20,001"):
        get_task("ranking").size(Setting("ranking", "ease"), many)
