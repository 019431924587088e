from __future__ import annotations

import pytest
import torch
from torch import nn

import memcom


def sets() -> memcom.MultiEmbedding:
    torch.manual_seed(0)
    return memcom.multi_embedding(
        3,
        lambda: memcom.FieldEmbeddings(
            [memcom.build("memcom", 200, 8, ratio=4), nn.Embedding(30, 8)]
        ),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU()),
    )


def test_the_mean_over_sets_by_hand():
    model = sets()
    ids = torch.stack([torch.randint(200, (11,)), torch.randint(30, (11,))], 1)
    state = model.state_dict()
    total = torch.zeros(11, 5)
    for m in range(3):
        item = model.embeddings[m].tables[0]
        rows = [item(ids[:, 0]), state[f"embeddings.{m}.tables.1.weight"][ids[:, 1]]]
        hidden = torch.cat(rows, 1) @ state[f"interactions.{m}.1.weight"].T
        total += (hidden + state[f"interactions.{m}.1.bias"]).clamp(min=0)
    torch.testing.assert_close(model(ids), total / 3)


def test_sets_are_drawn_apart_and_their_bytes_add_up():
    model = sets()
    first, second = (model.embeddings[m].tables[1].weight for m in (0, 1))
    assert not torch.equal(first, second)
    assert model.nbytes == 3 * (memcom.build("memcom", 200, 8, ratio=4).nbytes + 4 * 30 * 8)


def test_every_set_gets_its_own_gradient():
    model = sets()
    model(torch.tensor([[3, 4], [199, 29]])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_ids_without_fields():
    torch.manual_seed(0)
    one = memcom.multi_embedding(2, lambda: nn.Embedding(9, 4), lambda: nn.Linear(4, 4))
    assert one(torch.tensor([[1, 2, 3]])).shape == (1, 3, 4)


def test_what_does_not_fit_is_refused():
    table, linear = nn.Embedding(9, 4), nn.Linear(4, 4)
    with pytest.raises(ValueError, match="every set needs an interaction: 2 sets, 1"):
        memcom.MultiEmbedding([table, nn.Embedding(9, 4)], [linear])
    with pytest.raises(ValueError, match="its own embedding"):
        memcom.MultiEmbedding([table, nn.Embedding(9, 4)], [linear, linear])
    with pytest.raises(ValueError, match=r"one width, got \[4, 5\]"):
        memcom.FieldEmbeddings([table, nn.Embedding(9, 5)])
    with pytest.raises(ValueError, match=r"ids must be \(\.\.\., 1\)"):
        memcom.FieldEmbeddings([table])(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"num_sets must be >= 1 .*got 0"):
        memcom.multi_embedding(0, lambda: table, lambda: linear)
