from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.embeddings import FIITEDSchedule
from tests.embeddings import films as task

N, E, CHUNK = 12, 8, 4
ROWS, WIDTH = 50, 9  # of the layers compared with a formula


def test_fiited_by_its_directory():
    torch.manual_seed(0)
    emb = memcom.FIITEDEmbedding(ROWS, WIDTH, num_chunks=40, chunk_dim=4, capacity=60)
    assert emb.directory.shape == (ROWS, 3)
    shuffled = torch.full((ROWS * 3,), -1, dtype=torch.int32)
    shuffled[torch.randperm(ROWS * 3)[:60]] = torch.randperm(60, dtype=torch.int32)
    emb.directory.copy_(shuffled.view(ROWS, 3))
    emb.utility.copy_(torch.rand(ROWS, 3))
    slots, directory = emb.slots.detach().numpy(), emb.directory.numpy()
    expected = np.zeros((ROWS, 3, 4), dtype=np.float32)
    expected[directory >= 0] = slots[directory[directory >= 0]]
    np.testing.assert_array_equal(emb.materialize().numpy(), expected.reshape(ROWS, 12)[:, :WIDTH])
    # Frozen: the 40 of the highest utility.
    utility = np.where(directory >= 0, emb.utility.numpy(), -1)
    lost = np.argsort(-utility.ravel())[40:]
    expected.reshape(-1, 4)[lost] = 0
    frozen = emb.freeze()
    np.testing.assert_array_equal(
        frozen.materialize().numpy(), expected.reshape(ROWS, 12)[:, :WIDTH]
    )
    assert frozen.nbytes == emb.frozen_nbytes


def test_fiited_within_its_budget_starts_with_the_frequent_ids():
    emb = memcom.FIITEDEmbedding(ROWS, 8, num_chunks=20, chunk_dim=4, capacity=20)
    rows = emb.materialize()
    assert (rows[:10] != 0).all()
    assert (rows[10:] == 0).all()


def small(num_chunks: int = 6, **options) -> memcom.FIITEDEmbedding:
    torch.manual_seed(0)
    return memcom.FIITEDEmbedding(N, E, num_chunks=num_chunks, chunk_dim=CHUNK, **options)


def look_up(emb, ids, weight=None) -> None:
    """One backward pass of <weight, vectors>."""
    vectors = emb(torch.tensor(ids))
    (vectors * (torch.ones(E) if weight is None else weight)).sum().backward()


def test_utilities_by_hand():
    emb = small()
    schedule = FIITEDSchedule(emb, prune_steps=10**6, every=3, decay=0.5, mix=0.25)
    start = emb.utility.clone().double()
    weight = torch.cat([torch.ones(CHUNK), 3 * torch.ones(CHUNK)])  # chunk norms 2 and 6, mean 4
    for ids in ([0, 0, 5], [5], [7]):
        look_up(emb, ids, weight)
        schedule.step(torch.tensor(ids))
    earned = torch.tensor([0.75 + 0.25 * 0.5, 0.75 + 0.25 * 1.5], dtype=torch.float64)
    expected = start * 0.5**3
    for step, ids in enumerate(([0, 0, 5], [5], [7])):
        for i in ids:
            expected[i] += earned * 0.5 ** (2 - step)
    torch.testing.assert_close(emb.utility.double(), expected)


@pytest.mark.parametrize("calls", [1, 2])
def test_product_utilities_by_the_formula(calls):
    # u(t) = gamma u(t - 1) + a(t) |g(t)| of each chunk: a lookups, g the gradient of them all.
    emb = small(utility="product", padding_idx=3)
    schedule = FIITEDSchedule(emb, prune_steps=10**6, every=2, decay=0.5)
    u = np.zeros((N, E // CHUNK))
    rng = np.random.default_rng(0)
    for _ in range(5):
        ids = rng.integers(0, N, 20)
        g = rng.normal(size=(20, E))
        vectors = torch.cat([emb(part) for part in torch.from_numpy(ids).chunk(calls)])
        (vectors * torch.from_numpy(g)).sum().backward()
        schedule.step(torch.from_numpy(ids))
        accesses, gradient = np.zeros((N, 1)), np.zeros((N, E))
        for i, each in zip(ids, g, strict=True):
            if i != 3:
                accesses[i] += 1
                gradient[i] += each
        u = 0.5 * u + accesses * np.linalg.norm(gradient.reshape(N, -1, CHUNK), axis=-1)
    # The utilities count in units that grow with every step, until the next interval.
    np.testing.assert_allclose(emb.utility.numpy() / 2, u, rtol=1e-5, atol=1e-12)
    assert schedule.history  # slots were moved by them
    assert (emb.utility[3] < emb.utility[[0, 1, 2]].min()).all()


def test_tiny_gradients_still_outweigh_the_order_of_frequency():
    emb = small(num_chunks=2, utility="product")
    schedule = FIITEDSchedule(emb, prune_steps=1, every=1)
    look_up(emb, [11], 1e-9 * torch.ones(E))
    schedule.step(torch.tensor([11]))
    assert (emb.directory >= 0).all(1).nonzero().flatten().tolist() == [11]


def test_senseless_utilities_are_refused():
    with pytest.raises(ValueError, match=r"utility must be one of 'mix', 'product', got 'sum'"):
        small(utility="sum")


def test_slots_are_taken_from_idle_chunks_and_given_to_busy_ones():
    emb = small(capacity=6)  # the chunks of ids 0, 1 and 2
    schedule = FIITEDSchedule(emb, prune_steps=1, every=1)
    kept = emb(torch.tensor(0)).detach().clone()
    for _ in range(3):
        look_up(emb, [0, 9, 10])
        schedule.step(torch.tensor([0, 9, 10]))
        assert emb.num_allocated == 6
    assert set((emb.directory >= 0).all(1).nonzero().flatten().tolist()) == {0, 9, 10}
    assert sorted(emb.directory[emb.directory >= 0].tolist()) == list(range(6))
    assert torch.equal(emb(torch.tensor(0)), kept)
    assert (emb(torch.tensor([1, 2, 9, 10])) == 0).all()  # what comes starts from zeros
    assert schedule.history[0] == (1, 4, 4)
    assert sum(moved for _, _, moved in schedule.history[1:]) == 0


def test_a_pruned_chunk_earns_its_slot_back():
    emb = small(num_chunks=2)
    schedule = FIITEDSchedule(emb, prune_steps=2, every=1, decay=0.5)
    for _ in range(4):
        look_up(emb, [3])
        schedule.step(torch.tensor([3]))
    assert (emb.directory >= 0).all(1).nonzero().flatten().tolist() == [3]
    for _ in range(6):
        look_up(emb, [4])
        schedule.step(torch.tensor([4]))
    assert (emb.directory >= 0).all(1).nonzero().flatten().tolist() == [4]


def test_the_optimizer_forgets_what_it_knew_of_a_slot():
    emb = small(capacity=6)
    optimizer = torch.optim.Adam(emb.parameters())
    schedule = FIITEDSchedule(emb, prune_steps=1, every=2, optimizer=optimizer)
    for ids in ([0, 1, 2], [0, 9, 9]):
        optimizer.zero_grad()
        look_up(emb, ids)
        optimizer.step()
        schedule.step(torch.tensor(ids))
    new = emb.directory[9].long()
    moment = optimizer.state[emb.slots]["exp_avg"]
    assert (new >= 0).all()
    assert (moment[new] == 0).all()
    assert (moment[emb.directory[0].long()] != 0).all()


def test_padding_earns_nothing():
    emb = small(padding_idx=11, capacity=6)
    schedule = FIITEDSchedule(emb, prune_steps=1, every=1)
    look_up(emb, [11, 11, 0])
    schedule.step(torch.tensor([11, 11, 0]))
    assert (emb.directory[11] < 0).all()
    assert (emb.directory[0] >= 0).all()


def test_a_long_interval_does_not_overflow():
    emb = small()
    schedule = FIITEDSchedule(emb, prune_steps=10**6, every=10**6, decay=0.5)
    for _ in range(300):
        look_up(emb, [2])
        schedule.step(torch.tensor([2]))
    assert emb.utility.isfinite().all()
    assert emb.utility[2].min() > emb.utility[3].max()


def test_nothing_is_watched_after_close_or_in_evaluation():
    emb = small()
    schedule = FIITEDSchedule(emb, prune_steps=10**6, every=1)
    before = emb.utility.clone()
    emb.eval()
    look_up(emb, [11])
    emb.train()
    schedule.close()
    look_up(emb, [11])
    schedule.step(torch.tensor([11]))
    assert emb.utility[11].max() <= before[11].max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("within_budget", "utility"), [(False, "mix"), (True, "mix"), (False, "product")]
)
def test_trains_on_films(within_budget, utility):
    ratio = 12
    plan = memcom.plan("fiited", task.NUM_ITEMS, task.EMBEDDING_DIM, ratio=ratio, utility=utility)
    arguments = dict(plan.arguments)
    if within_budget:
        arguments["capacity"] = arguments["num_chunks"]
    emb = memcom.FIITEDEmbedding(task.NUM_ITEMS, task.EMBEDDING_DIM, **arguments)
    made = []

    def make(model, optimizer):
        made.append(FIITEDSchedule(emb, prune_steps=120, every=10, optimizer=optimizer))
        return made[0]

    run = task.train(emb, make_schedule=make)
    assert emb.num_allocated == emb.num_chunks
    assert sum(new for _, _, new in made[0].history) > 0
    task.check(run, made[0], emb.num_chunks * emb.chunk_dim, ratio)
