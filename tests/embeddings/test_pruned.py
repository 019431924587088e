"""What PEP, AMTL, FIITED and SCALL compute and what they freeze to; their training is elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom

N, E = 50, 9
IDS = torch.arange(N)
NAMES = ("pep", "amtl", "fiited", "scall")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("granularity", ["global", "dimension", "feature", "feature_dimension"])
def test_pep_by_its_formula(granularity):
    torch.manual_seed(0)
    emb = memcom.PEPEmbedding(N, E, num_values=100, granularity=granularity, reach=2.0)
    shape = {
        "global": (1, 1),
        "dimension": (1, E),
        "feature": (N, 1),
        "feature_dimension": (N, E),
    }[granularity]
    assert emb.threshold.shape == shape
    with torch.no_grad():
        emb.threshold.normal_()
    emb.mask.copy_(torch.rand(N, E) < 0.8)
    v, s = emb.table.detach().numpy(), emb.threshold.detach().numpy()
    cut = np.sign(v) * np.maximum(np.abs(v) - 2 * sigmoid(s), 0) * emb.mask.numpy()
    np.testing.assert_allclose(emb.materialize().numpy(), cut, atol=1e-6)
    margin = np.where(emb.mask, np.abs(v) - 2 * sigmoid(s), -np.inf)
    kept = np.zeros(N * E, dtype=bool)
    kept[np.argsort(-margin.ravel())[:100]] = True
    np.testing.assert_array_equal(emb.kept().numpy(), kept.reshape(N, E))
    expected = np.where(kept.reshape(N, E), cut, 0)
    np.testing.assert_allclose(emb.freeze().materialize().numpy(), expected, atol=1e-6)


def amtl() -> memcom.AMTLEmbedding:
    torch.manual_seed(0)
    emb = memcom.AMTLEmbedding(N, E, num_values=150, hidden_dim=5, temperature=0.7)
    torch.nn.init.normal_(emb.output, std=0.3)
    emb.set_counts(torch.arange(N, 0, -1))
    emb.price.fill_(0.5)
    return emb.double()


def amtl_scores(emb: memcom.AMTLEmbedding) -> np.ndarray:
    i, k = np.arange(N), np.arange(E + 1)
    counts = N - i
    frequency = np.log1p(counts) / np.log1p(N)
    rank = 1 - np.log1p(i) / np.log1p(N)
    x = np.stack([frequency, rank, np.ones(N)], 1)
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
    expected = np.where(np.arange(E) < sizes[:, None], table, 0)
    np.testing.assert_allclose(emb.materialize().numpy(), expected, atol=1e-6)
    np.testing.assert_array_equal(emb.sizes_of(IDS).numpy(), sizes)


def test_amtl_gradient_is_that_of_the_softmax():
    emb = amtl()
    g = torch.randn(N, E, dtype=torch.float64)
    (emb(IDS) * g).sum().backward()
    # The relaxed vector: every number times the probability that the row is wide enough.
    hidden, output = (p.detach().clone().requires_grad_() for p in (emb.hidden, emb.output))
    table = emb.table.detach()
    soft = torch.func.functional_call(emb, {"hidden": hidden, "output": output}, (IDS,))
    assert torch.equal(soft, emb(IDS))
    scores = torch.tensor(amtl_scores(emb), requires_grad=True)
    p = torch.softmax(scores / 0.7, 1)
    wide = torch.stack([p[:, j + 1 :].sum(1) for j in range(E)], 1)
    (table * wide * g).sum().backward()
    # d loss / d output through the scores, by hand: outer products with the hidden units.
    i = np.arange(N)
    frequency = np.log1p(N - i) / np.log1p(N)
    rank = 1 - np.log1p(i) / np.log1p(N)
    x = np.stack([frequency, rank, np.ones(N)], 1)
    a = sigmoid(4 * (frequency + rank) - 4)[:, None]
    d = scores.grad.numpy()
    units = np.maximum(x @ emb.hidden.detach().numpy().T, 0)
    expected = np.concatenate([(a * d).T @ units[:, :5], ((1 - a) * d).T @ units[:, 5:]])
    np.testing.assert_allclose(emb.output.grad.numpy(), expected, atol=1e-6)
    sizes = scores.detach().numpy().argmax(1)
    mask = np.arange(E) < sizes[:, None]
    np.testing.assert_allclose(emb.table.grad.numpy(), g.numpy() * mask, atol=1e-12)


def test_amtl_prices_by_a_scan():
    emb = amtl()
    scores = amtl_scores(emb) + 0.5 * np.arange(E + 1)

    def total(price: float) -> int:
        return int((scores - price * np.arange(E + 1)).argmax(1).sum())

    for budget in (400, 150, 40, 3):
        price = emb.price_for(budget)
        assert total(price * (1 + 1e-6) + 1e-6) <= budget
        assert price == 0 or total(price * (1 - 1e-3) - 1e-6) > budget


def test_fiited_by_its_directory():
    torch.manual_seed(0)
    emb = memcom.FIITEDEmbedding(N, E, num_chunks=40, chunk_dim=4, capacity=60)
    assert emb.directory.shape == (N, 3)
    shuffled = torch.full((N * 3,), -1, dtype=torch.int32)
    shuffled[torch.randperm(N * 3)[:60]] = torch.randperm(60, dtype=torch.int32)
    emb.directory.copy_(shuffled.view(N, 3))
    emb.utility.copy_(torch.rand(N, 3))
    slots, directory = emb.slots.detach().numpy(), emb.directory.numpy()
    expected = np.zeros((N, 3, 4), dtype=np.float32)
    expected[directory >= 0] = slots[directory[directory >= 0]]
    np.testing.assert_array_equal(emb.materialize().numpy(), expected.reshape(N, 12)[:, :E])
    # Frozen: the 40 of the highest utility.
    utility = np.where(directory >= 0, emb.utility.numpy(), -1)
    lost = np.argsort(-utility.ravel())[40:]
    expected.reshape(-1, 4)[lost] = 0
    frozen = emb.freeze()
    np.testing.assert_array_equal(frozen.materialize().numpy(), expected.reshape(N, 12)[:, :E])
    assert frozen.nbytes == emb.frozen_nbytes


def test_fiited_within_its_budget_starts_with_the_frequent_ids():
    emb = memcom.FIITEDEmbedding(N, 8, num_chunks=20, chunk_dim=4, capacity=20)
    rows = emb.materialize()
    assert (rows[:10] != 0).all()
    assert (rows[10:] == 0).all()


def test_scall_shows_the_first_numbers_within_the_budget():
    torch.manual_seed(0)
    emb = memcom.SCALLEmbedding(N, E, num_values=120)
    assert int(emb.row_sizes.sum()) == 120
    sizes = torch.randint(0, 4, (N,))
    emb.table.data.normal_()
    emb.set_sizes(sizes)
    expected = np.where(np.arange(E) < sizes.numpy()[:, None], emb.table.detach(), 0)
    np.testing.assert_array_equal(emb.materialize().numpy(), expected)
    with pytest.raises(ValueError, match="add up to 150, the budget is 120"):
        emb.set_sizes(torch.full((N,), 3))
    with pytest.raises(ValueError, match=r"in \[0, 9\]"):
        emb.set_sizes(torch.full((N,), 10))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ratio", [2, 8, 20])
def test_frozen_layers_are_ordinary_and_keep_within_the_plan(name, ratio):
    torch.manual_seed(0)
    plan = memcom.plan(name, 2000, 32, ratio=ratio)
    emb = plan.build(padding_idx=5, sparse=True)
    frozen = emb.freeze()
    assert type(frozen) in (memcom.JaggedEmbedding, memcom.CSREmbedding)
    assert frozen.nbytes <= emb.frozen_nbytes == plan.nbytes <= 4 * 2000 * 32 / ratio
    assert frozen.nbytes > 0.9 * plan.nbytes
    assert (frozen.padding_idx, frozen.sparse) == (5, True)
    assert (frozen(torch.tensor([5, 5])) == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_planning_many_ids(name):
    half = memcom.plan(name, 2000, 32, ratio=8, dtype=torch.bfloat16)
    single = memcom.plan(name, 2000, 32, ratio=8)
    key = "num_chunks" if name == "fiited" else "num_values"
    assert half.arguments[key] > 1.5 * single.arguments[key]
    emb = half.build(dtype=torch.bfloat16)
    assert emb.freeze().nbytes <= half.nbytes
    assert memcom.plan(name, 10**7, 64, ratio=16).nbytes <= 4 * 10**7 * 64 / 16
