"""Embeddings of models that are replaced before training."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import memcom
from memcom.compression import SharedHead

N, E = 1200, 16
IDS = torch.randint(N, (4, 5), generator=torch.Generator().manual_seed(2))


class Model(nn.Module):
    """A large table, bags, a small table, and an output that is tied on request."""

    def __init__(self, tied: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.items = nn.Embedding(N, E, padding_idx=0, sparse=False)
        nn.init.normal_(self.items.weight, std=0.02)  # draws the row of padding, too
        self.bags = nn.EmbeddingBag(3000, E, mode="sum")
        self.small = nn.Embedding(20, E)
        self.output = nn.Linear(E, N, bias=bias)
        if tied:
            self.output.weight = self.items.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.items(ids).mean(1) + self.bags(ids))


def test_a_model_gets_new_layers_and_a_report():
    model = Model().eval()
    before = copy.deepcopy(model.state_dict())
    done = memcom.replace(model, "qr", ratio=8, min_rows=1000)
    new = done.model
    assert isinstance(new.items, memcom.QREmbedding)
    assert isinstance(new.bags, memcom.EmbeddingBag)
    assert (new.bags.mode, new.items.padding_idx, new.items.training) == ("sum", 0, False)
    assert isinstance(new.small, nn.Embedding)
    assert [(t.name, t.nbytes_before) for t in done.tables] == [
        ("items", 4 * N * E),
        ("bags", 4 * 3000 * E),
    ]
    assert [t.nbytes for t in done.tables] == [new.items.nbytes, new.bags.embedding.nbytes]
    assert done.nbytes <= done.nbytes_before / 8
    assert done.kept == {"small": "it has 20 rows, fewer than min_rows=1,000"}
    assert (
        str(done).splitlines()[0].split()
        == "table method ids width bytes before bytes ratio".split()
    )
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    new(IDS).sum().backward()
    assert all(p.grad is not None for p in new.items.parameters())


def test_new_layers_have_the_spread_of_the_old_tables():
    model = nn.Sequential(nn.Embedding(20_000, E))
    nn.init.normal_(model[0].weight, std=0.02)
    for spec in ("qr", "hash", "memcom(bits=8)", "low-rank"):
        layer = memcom.replace(model, spec, ratio=4).model[0]
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.2), spec


def test_min_rows_is_ten_thousand_unless_it_is_said():
    model = nn.ModuleList([nn.Embedding(9_999, 2), nn.Embedding(10_000, 2)])
    assert list(memcom.replace(model, "hash", ratio=2).kept) == ["0"]
    with pytest.raises(ValueError, match=r"table to replace; 0 is no such: it has 9 rows, fewer"):
        memcom.replace(nn.Sequential(nn.Embedding(9, 2)), "hash", ratio=2)


def test_in_place_and_alone():
    model = Model()
    done = memcom.replace(model, "qr(num_remainders=100)", min_rows=1000, inplace=True)
    assert done.model is model
    assert model.items.num_remainders == 100
    alone = memcom.replace(nn.Embedding(50, 4, dtype=torch.float64), "hash", nbytes=400)
    assert alone.layer.nbytes <= 400
    assert alone.layer.weight.dtype == torch.float64


def test_a_table_without_values_is_replaced_by_one_without_values():
    with torch.device("meta"):
        model = Model(tied=True)
    done = memcom.replace(model, "qr", ratio=8, min_rows=1000, tied="share")
    assert {p.device.type for p in done.model.parameters()} == {"meta"}
    assert isinstance(done.model.output, SharedHead)


# --- tied heads -----------------------------------------------------------------------------------


def test_a_tied_head_is_refused_with_the_ways_out():
    match = r"items\.weight is tied to output\.weight.*tied='share'.*tied='keep'"
    with pytest.raises(ValueError, match=match):
        memcom.replace(Model(tied=True), "qr", ratio=8, min_rows=1000)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inplace", [True, False])
def test_a_shared_head_reads_the_embedding(bias, inplace):
    model = Model(tied=True, bias=bias)
    size = sum(p.numel() for p in model.parameters())
    done = memcom.replace(model, "qr", ratio=8, min_rows=1000, tied="share", inplace=inplace)
    new = done.model
    assert done.tables[0].heads == ("output",)
    assert "output reads items now" in str(done)
    assert isinstance(new.output, SharedHead)
    assert new.output.embedding is new.items
    assert (new.output.in_features, new.output.out_features) == (E, N)
    assert {name.partition(".")[0] for name in new.state_dict()} == {"items", "bags", "small"} | (
        {"output"} if bias else set()
    )
    assert sum(p.numel() for p in new.parameters()) < size / 5
    hidden = torch.randn(3, E)
    expected = F.linear(hidden, new.items.materialize(), new.output.bias)
    torch.testing.assert_close(new.output(hidden), expected)
    before = [p.detach().clone() for p in new.items.parameters()]
    optimizer = torch.optim.SGD(new.parameters(), lr=1.0)
    new.output(hidden).square().sum().backward()
    optimizer.step()
    assert all((p != b).any() for p, b in zip(new.items.parameters(), before, strict=True))
    again = copy.deepcopy(new)
    assert again.output.embedding is again.items
    assert again.output.embedding is not new.items
    again.load_state_dict(new.state_dict())


def test_a_bias_that_another_module_has_stays_shared():
    model = Model(tied=True)
    model.bias = model.output.bias
    new = memcom.replace(model, "qr", ratio=8, min_rows=1000, tied="share").model
    assert new.bias is new.output.bias
    assert new.bias is not model.bias


def test_a_kept_head_keeps_its_table():
    new = memcom.replace(Model(tied=True), "qr", ratio=8, min_rows=1000, tied="keep").model
    assert isinstance(new.output, nn.Linear)
    assert new.output.weight.shape == (N, E)


def test_a_head_that_is_no_linear_layer_cannot_share():
    class Odd(nn.Linear):
        def forward(self, hidden):
            return super().forward(hidden) / 2

    model = Model()
    model.output = Odd(E, N)
    model.output.weight = model.items.weight
    with pytest.raises(ValueError, match=r"tied to output\.weight, and Odd is no nn\.Linear"):
        memcom.replace(model, "qr", ratio=8, min_rows=1000, tied="share")


def test_compress_shares_heads_too():
    model = Model(tied=True)
    done = memcom.compress(model, ratio=2, method="low-rank", tied="share")
    hidden = torch.randn(3, E)
    expected = F.linear(hidden, done.model.items.materialize(), model.output.bias)
    torch.testing.assert_close(done.model.output(hidden), expected)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "error", "named"),
    [
        (Model(), {"ratio": 100, "spec": "memcom"}, memcom.BudgetError, "items: memcom cannot"),
        (Model(), {"ratio": 2, "nbytes": 9}, ValueError, "give ratio or nbytes, not both"),
        (Model(), {"spec": "hash"}, TypeError, "hash needs a size: give ratio="),
        (Model(), {"ratio": 2, "spec": "qr(operaton=add)"}, TypeError, "did you mean 'operation'"),
        (Model(), {"ratio": 2, "spec": 3}, TypeError, "spec must be a string"),
        (torch.zeros(9, 3), {"ratio": 2}, TypeError, "model must be a Module"),
        (nn.Sequential(nn.Embedding(N, E, max_norm=1)), {"ratio": 2}, ValueError, "max_norm=1"),
        (nn.Embedding(N, E), {"ratio": 2, "inplace": True}, ValueError, "inplace=True needs a mod"),
        (nn.Linear(2, 3), {"ratio": 2}, ValueError, "Linear has no nn.Embedding.* to replace"),
    ],
)
def test_what_cannot_be_replaced_is_refused_by_name(model, options, error, named):
    with pytest.raises(error, match=named):
        memcom.replace(model, **{"spec": "qr", "min_rows": 1000, **options})
