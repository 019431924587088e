from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.embeddings import SCALLSchedule
from memcom.embeddings.scall import Form
from tests.embeddings import films as task

N, E, BUDGET = 50, 8, 100
ROWS, WIDTH = 50, 9  # of the layers compared with a formula


def test_scall_shows_the_first_numbers_within_the_budget():
    torch.manual_seed(0)
    emb = memcom.SCALLEmbedding(ROWS, WIDTH, num_values=120)
    assert int(emb.row_sizes.sum()) == 120
    sizes = torch.randint(0, 4, (ROWS,))
    emb.table.data.normal_()
    emb.set_sizes(sizes)
    expected = np.where(np.arange(WIDTH) < sizes.numpy()[:, None], emb.table.detach(), 0)
    np.testing.assert_array_equal(emb.materialize().numpy(), expected)
    with pytest.raises(ValueError, match="add up to 150, the budget is 120"):
        emb.set_sizes(torch.full((ROWS,), 3))
    with pytest.raises(ValueError, match=r"in \[0, 9\]"):
        emb.set_sizes(torch.full((ROWS,), 10))


def small() -> memcom.SCALLEmbedding:
    torch.manual_seed(0)
    return memcom.SCALLEmbedding(N, E, num_values=BUDGET)


def test_forms_by_their_formulas():
    rank = np.arange(N)
    power, exponential = Form("power-law", 0.7), Form("exponential", 3.0)
    np.testing.assert_allclose(power.weights(N), (rank + 1.0) ** -0.7)
    np.testing.assert_allclose(exponential.weights(N), np.exp(-3 * rank / N))


def test_the_budget_holds_after_every_step_and_is_used_up():
    emb = small()
    schedule = SCALLSchedule(emb, reward=lambda: 0.0, every=20, resample=3)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(60):
        schedule.step(torch.randint(N, (7,), generator=generator))
        assert int(emb.row_sizes.sum()) == BUDGET
        seen.add(tuple(emb.row_sizes.tolist()))
    assert len(seen) > 5
    assert len(schedule.history) == 3


def test_sizes_grow_and_shrink_with_the_stream():
    emb = small()
    schedule = SCALLSchedule(emb, every=10, decay=0.5)
    assert emb.row_sizes[0] == E
    assert emb.row_sizes[40] < 3
    for _ in range(30):
        schedule.step(torch.tensor([[40, 41], [40, 42]]))
    after = emb.row_sizes
    assert after[40] == after.max() == E
    assert after[0] < E
    assert after[41] >= after[42] >= after[0]
    for _ in range(40):
        schedule.step(torch.tensor([7]))
    assert emb.row_sizes[7] == E
    assert emb.row_sizes[40] <= E


def test_the_search_keeps_the_form_of_the_highest_reward():
    emb = small()
    # Rewards equal widths: the more even, the better.
    schedule = SCALLSchedule(emb, reward=lambda: -float(emb.row_sizes.double().var()), every=10)
    for _ in range(50):
        schedule.step(torch.arange(N))
    assert len(schedule.history) == 5
    for tried in schedule.history:
        assert len(tried) == 8
    assert schedule.form == max(schedule.history[-1], key=lambda pair: pair[1])[0]
    best = [max(reward for _, reward in tried) for tried in schedule.history]
    assert best == sorted(best)  # the present form is always among those tried
    assert float(emb.row_sizes.double().var()) < float(small().row_sizes.double().var())


def test_a_row_that_grows_again_finds_what_it_had():
    emb = small()
    emb.table.data.normal_()
    full = emb.table.detach().clone()
    narrow = torch.zeros(N, dtype=torch.int64)
    emb.set_sizes(narrow)
    assert (emb.materialize() == 0).all()
    wide = narrow.clone()
    wide[3] = 5
    emb.set_sizes(wide)
    assert torch.equal(emb(torch.tensor(3))[:5], full[3, :5])


@pytest.mark.slow
def test_trains_on_films():
    ratio = 12
    emb = memcom.build("scall", task.NUM_ITEMS, task.EMBEDDING_DIM, ratio=ratio)
    made = []

    def make(model, optimizer):
        def reward() -> float:
            return -task.held_out_loss(model, "valid")

        made.append(SCALLSchedule(emb, reward=reward, every=60, resample=5))
        return made[0]

    run = task.train(emb, make_schedule=make)
    schedule = made[0]
    assert len(schedule.history) == 4
    task.check(run, schedule, emb.num_values, ratio)
