from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import memcom.tasks.ranking.evaluation as evaluation
from memcom.tasks import HeldOut, HistoryRanker, MostPopular, evaluate
from tests.tasks.data import planted


@pytest.mark.parametrize("split", ["valid", "test"])
def test_equals_a_loop_over_users(split: str) -> None:
    data = planted()
    model = HistoryRanker(torch.nn.Embedding(60, 6)).eval()
    found = evaluate(model, HeldOut.of(data, split), k=5)
    past = {"valid": [0], "test": [0, 1]}[split]
    table = {key: value.double().numpy() for key, value in model.state_dict().items()}
    for position in range(0, 200, 23):
        user = int(found.users[position])
        mine = data.user == user
        known = data.item[mine & np.isin(data.split, past)]
        wanted = set(data.item[mine & (data.split == max(past) + 1)])
        scores = table["embedding.weight"][known].mean(0) @ table["output.weight"].T
        order = [item for item in np.argsort(-scores) if item not in set(known)][:5]
        hits = [rank for rank, item in enumerate(order) if item in wanted]
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(5, len(wanted))))
        ndcg = sum(1 / math.log2(rank + 2) for rank in hits) / ideal
        assert found.ndcg[position].item() == pytest.approx(ndcg, abs=1e-6)
        assert found.recall[position].item() == pytest.approx(len(hits) / len(wanted))


def test_batches_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out, model = HeldOut.of(planted()), MostPopular(planted().item_counts)
    whole = evaluate(model, held_out)
    monkeypatch.setattr(evaluation, "MAX_SCORES", 7 * 60)
    parts = evaluate(model, held_out)
    assert torch.equal(whole.ndcg, parts.ndcg)
    assert torch.equal(whole.recall, parts.recall)


def test_never_all_users_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Watched(MostPopular):
        def score(self, state: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
            seen.append(len(state))
            return super().score(state, items)

    monkeypatch.setattr(evaluation, "MAX_SCORES", 50 * 60)
    evaluate(Watched(planted().item_counts), HeldOut.of(planted()))
    assert seen == [50] * 4


def test_the_mode_of_the_model_is_put_back() -> None:
    model = HistoryRanker(torch.nn.Embedding(60, 6), dropout=0.9).train()
    first = evaluate(model, HeldOut.of(planted()))
    assert torch.equal(first.ndcg, evaluate(model, HeldOut.of(planted())).ndcg)
    assert model.training


def test_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match="'valid' or 'test', got 'train'"):
        HeldOut.of(planted(), "train")
