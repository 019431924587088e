from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import memcom
from memcom.tasks import HistoryRanker, ItemBias, MostPopular

ITEMS = torch.tensor([3, 1, 7, 4, 9, 9, 2])
OFFSETS = torch.tensor([0, 3, 4, 4, 7])  # the third user has no history


def pooled(table: np.ndarray) -> np.ndarray:
    bounds = OFFSETS.tolist()
    parts = [ITEMS.numpy()[a:b] for a, b in itertools.pairwise(bounds)]
    return np.stack([table[p].mean(0) if len(p) else np.zeros(table.shape[1]) for p in parts])


@pytest.mark.parametrize("name", ["full", "memcom", "qr", "hash", "low-rank", "bch"])
@pytest.mark.parametrize("hidden", [(), (6, 3)])
def test_scores_equal_the_formula(name: str, hidden: tuple[int, ...]) -> None:
    budget = {} if name == "full" else {"ratio": 2}
    model = HistoryRanker(memcom.build(name, 64, 8, **budget), 10, hidden=hidden, dropout=0.5)
    nn.init.normal_(model.output_bias)
    model.eval()
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    x = pooled(model.embedding.materialize().numpy())
    for layer in [key[:-7] for key in state if key.startswith("tail") and "weight" in key]:
        x = np.maximum(x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"], 0)
    expected = x @ state["output.weight"].T + state["output_bias"]
    with torch.no_grad():
        np.testing.assert_allclose(model(ITEMS, OFFSETS), expected, atol=1e-5)


def test_tied_output_scores_with_the_composed_input_rows() -> None:
    model = HistoryRanker(memcom.build("memcom", 64, 8, ratio=2), tied=True)
    table = model.embedding.materialize().numpy()
    projection = model.tail[-1]
    state = pooled(table) @ projection.weight.detach().numpy().T + projection.bias.detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(model(ITEMS, OFFSETS), state @ table.T, atol=1e-5)
    assert model.output_nbytes == 4 * (8 * 8 + 8 + 64)  # projection and a bias per item


def test_scores_of_some_items_are_those_of_all() -> None:
    for tied in (False, True):
        model = HistoryRanker(nn.Embedding(12, 5), tied=tied)
        state = model.encode(ITEMS, OFFSETS)
        some = torch.tensor([11, 0, 5, 5])
        torch.testing.assert_close(model.score(state, some), model.score(state)[:, some])


def test_bytes_are_told_apart() -> None:
    embedding = memcom.build("memcom", 1000, 16, ratio=8)
    model = HistoryRanker(embedding, hidden=(4,))
    assert model.input_nbytes == embedding.nbytes
    assert model.output_nbytes == 4 * (16 * 4 + 4 + 4 * 1000 + 1000)


def test_the_controls_rank_by_count_and_ignore_the_history() -> None:
    counts = np.array([50, 20, 20, 3, 0])
    popular = MostPopular(counts)(torch.tensor([4, 4]), torch.tensor([0, 1, 2, 2]))
    assert popular.tolist() == [counts.tolist()] * 3
    bias = ItemBias(5, item_counts=counts)(torch.tensor([4]), torch.tensor([0, 1]))
    np.testing.assert_allclose(bias.detach()[0], np.log(counts + 1), rtol=1e-6)
    assert not any(p.requires_grad for p in MostPopular(counts).parameters())


def test_scores_may_be_masked_in_place() -> None:
    for model in (HistoryRanker(nn.Embedding(12, 5)), ItemBias(12), MostPopular(np.ones(12))):
        with torch.no_grad():
            scores = model(ITEMS, OFFSETS)
            scores[0, 3] = -torch.inf
            assert torch.isfinite(scores[1:]).all()
            assert torch.isfinite(model(ITEMS, OFFSETS)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"num_items": 0}, "num_items"),
        ({"num_items": 20, "tied": True}, "20 items, 12 rows"),
        ({"item_counts": [1, 2]}, r"must be \(12,\)"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HistoryRanker(nn.Embedding(12, 5), **options)  # type: ignore[arg-type]
