from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.embeddings import PEPSchedule
from tests.embeddings import films as task

N, E, KEPT = 40, 6, 50
ROWS, WIDTH = 50, 9  # of the layers compared with a formula


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("granularity", ["global", "dimension", "feature", "feature_dimension"])
def test_pep_by_its_formula(granularity):
    torch.manual_seed(0)
    emb = memcom.PEPEmbedding(ROWS, WIDTH, num_values=100, granularity=granularity, reach=2.0)
    shape = {
        "global": (1, 1),
        "dimension": (1, WIDTH),
        "feature": (ROWS, 1),
        "feature_dimension": (ROWS, WIDTH),
    }[granularity]
    assert emb.threshold.shape == shape
    with torch.no_grad():
        emb.threshold.normal_()
    emb.mask.copy_(torch.rand(ROWS, WIDTH) < 0.8)
    v, s = emb.table.detach().numpy(), emb.threshold.detach().numpy()
    cut = np.sign(v) * np.maximum(np.abs(v) - 2 * sigmoid(s), 0) * emb.mask.numpy()
    np.testing.assert_allclose(emb.materialize().numpy(), cut, atol=1e-6)
    margin = np.where(emb.mask, np.abs(v) - 2 * sigmoid(s), -np.inf)
    kept = np.zeros(ROWS * WIDTH, dtype=bool)
    kept[np.argsort(-margin.ravel())[:100]] = True
    np.testing.assert_array_equal(emb.kept().numpy(), kept.reshape(ROWS, WIDTH))
    expected = np.where(kept.reshape(ROWS, WIDTH), cut, 0)
    np.testing.assert_allclose(emb.freeze().materialize().numpy(), expected, atol=1e-6)


def small(**options) -> memcom.PEPEmbedding:
    torch.manual_seed(0)
    return memcom.PEPEmbedding(N, E, num_values=KEPT, **options)


def drive(emb, schedule, steps: int, lr: float = 0.05) -> None:
    """Draw all rows towards a fixed table with plain gradient descent."""
    wanted = torch.randn(N, E, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(N)
    for _ in range(steps):
        emb.zero_grad()
        (emb(ids) - wanted).square().sum().backward()
        with torch.no_grad():
            for p in (p for p in emb.parameters() if p.grad is not None):
                p -= lr * p.grad
        schedule.step(ids)


@pytest.mark.parametrize("granularity", ["global", "dimension", "feature", "feature_dimension"])
def test_the_mask_has_the_target_size_and_is_never_undone(granularity):
    emb = small(granularity=granularity)
    schedule = PEPSchedule(emb, prune_steps=20, every=5)
    drive(emb, schedule, 20)
    assert schedule.masked_at == 20
    mask = emb.mask.clone()
    assert int(mask.sum()) == KEPT
    drive(emb, schedule, 30)
    assert torch.equal(emb.mask, mask)
    table = emb.materialize()
    assert (table[~mask] == 0).all()
    assert torch.equal(table[mask], emb.table.detach()[mask])  # no threshold any more


def test_the_number_of_weights_above_their_threshold_falls_as_planned():
    emb = small()
    schedule = PEPSchedule(emb, prune_steps=20, every=5)
    drive(emb, schedule, 20)
    for step, left in schedule.history:
        assert left <= KEPT + (N * E - KEPT) * (1 - step / 20) ** 3 + 1  # rounding at the edge
    assert [step for step, _ in schedule.history] == [5, 10, 15, 20]


def test_weights_go_back_to_where_they_started():
    emb = small()
    before = emb.table.detach().clone()
    drive(emb, PEPSchedule(emb, prune_steps=20, every=5), 20)
    assert torch.equal(emb.table.detach(), before)


def test_the_model_is_rewound_and_the_optimizer_forgets():
    emb = small()
    model = torch.nn.Sequential(emb, torch.nn.Linear(E, 3))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters())
    schedule = PEPSchedule(emb, prune_steps=6, every=3, model=model, optimizer=optimizer)
    ids = torch.arange(N)
    for _ in range(6):
        optimizer.zero_grad()
        model(ids).square().sum().backward()
        optimizer.step()
        schedule.step(ids)
    assert schedule.masked_at == 6
    assert not optimizer.state
    for name in ("1.weight", "1.bias", "0.table"):
        assert torch.equal(model.state_dict()[name], before[name]), name


def test_a_threshold_at_minus_150_has_no_gradient_in_fp32_and_one_at_minus_15_has():
    gradients = {}
    for start in (-15.0, -150.0):
        emb = small(granularity="global")
        with torch.no_grad():
            emb.threshold.fill_(start)
        emb(torch.arange(N)).square().sum().backward()
        gradients[start] = float(emb.threshold.grad)
    assert gradients[-150.0] == 0
    assert gradients[-15.0] < 0
    with pytest.raises(ValueError, match=r"start must be in \[-80, 0\].*got -150"):
        small(start=-150.0)


def test_the_loss_moves_thresholds_apart():
    # Rows that should be zero get higher thresholds than rows that should not.
    emb = memcom.PEPEmbedding(2, 8, num_values=8, granularity="feature", start=-3.0)
    schedule = PEPSchedule(emb, prune_steps=10**6)
    ids = torch.tensor([0, 1])
    wanted = torch.stack([torch.zeros(8), 2 * emb.table[1].detach()])
    for _ in range(30):
        emb.zero_grad()
        (emb(ids) - wanted).square().sum().backward()
        with torch.no_grad():
            emb.threshold -= 0.1 * emb.threshold.grad
        schedule.step(ids)
    assert emb.threshold[0] > -3 > emb.threshold[1]


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["feature_dimension", "dimension"])
def test_trains_on_films(granularity):
    ratio = 12
    emb = memcom.build("pep", task.NUM_ITEMS, task.EMBEDDING_DIM, ratio=ratio)
    made = []

    def make(model, optimizer):
        made.append(PEPSchedule(emb, prune_steps=80, every=10, model=model, optimizer=optimizer))
        return made[0]

    run = task.train(emb, make_schedule=make)
    assert made[0].masked_at == 80
    task.check(run, made[0], emb.num_values, ratio)
