"""Trained tables compressed: alone, in layers and in models."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import memcom
from memcom.compression import AUTO
from memcom.embeddings import REGISTRY
from tests.embeddings.cases import structured_table

N, E = 1200, 16


def trained(n: int = N, e: int = E, seed: int = 0) -> torch.Tensor:
    return structured_table(n, e, 5, seed)


TABLE = trained()


def relative(vectors: torch.Tensor, table=TABLE, weights=None) -> float:
    w = np.ones(len(table)) if weights is None else weights.numpy()
    lost = ((vectors.detach().double() - table.double()) ** 2).sum(1).numpy()
    return float((w * lost).sum() / (w * (table.double() ** 2).sum(1).numpy()).sum())


def embedding(table=TABLE, **options) -> nn.Embedding:
    return nn.Embedding.from_pretrained(table.clone(), freeze=False, **options)


class Model(nn.Module):
    """Two large tables, one that two modules share, a small one, and an output."""

    def __init__(self) -> None:
        super().__init__()
        self.items = embedding(padding_idx=0)
        with torch.no_grad():
            self.items.weight[0] = 0
        self.again = self.items
        self.bags = nn.EmbeddingBag.from_pretrained(trained(3000, 8, 1), freeze=False, mode="sum")
        self.small = nn.Embedding(20, E)
        self.output = nn.Linear(E, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        bags = self.bags(ids).repeat(1, 2)
        return self.output(self.items(ids).mean(1) + self.again(ids).sum(1) + bags)


IDS = torch.randint(N, (4, 5), generator=torch.Generator().manual_seed(2))


# --- a table --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["low-rank", "memcom(bits=8)", "gain-shape", "hash", "int8"])
def test_a_table_meets_the_budget_and_says_what_it_lost(method):
    done = memcom.compress(TABLE, ratio=2.5, method=method)
    (report,) = done.tables
    assert done.layer.nbytes == report.nbytes <= TABLE.numel() * 4 / 2.5
    assert (report.name, report.method, report.nbytes_before) == ("table", method, 4 * N * E)
    assert report.error == pytest.approx(relative(done.layer.materialize()), rel=1e-6)
    assert report.weighted_error == pytest.approx(report.error)


def test_auto_takes_the_least_weighted_error_of_those_that_fit():
    counts = 1000 // torch.arange(1, N + 1)
    done = memcom.compress(TABLE, ratio=6, frequencies=counts)
    (report,) = done.tables
    assert set(report.tried) == {s for s in AUTO if s.partition("(")[0] in REGISTRY}
    assert isinstance(report.tried["int8"], str)  # never 6 times smaller
    errors = {spec: e for spec, e in report.tried.items() if isinstance(e, float)}
    assert report.weighted_error == min(errors.values()) == errors[report.method]
    assert report.weighted_error == pytest.approx(
        relative(done.layer.materialize(), weights=counts), rel=1e-6
    )
    for spec in ("low-rank(bits=8)", "truncate(bits=8)"):
        alone = memcom.compress(TABLE, ratio=6, frequencies=counts, method=spec)
        assert alone.tables[0].weighted_error == errors[spec] >= report.weighted_error


def test_a_list_of_methods_is_a_choice_among_them():
    done = memcom.compress(TABLE, ratio=4, method=["hash", "low-rank", "int8"])
    assert done.tables[0].method == "low-rank"
    assert set(done.tables[0].tried) == {"hash", "low-rank", "int8"}


def test_frequencies_decide_where_the_error_goes():
    counts = torch.zeros(N)
    counts[:50] = 1
    weighted = memcom.compress(TABLE, ratio=8, method="low-rank", frequencies=counts)
    plain = memcom.compress(TABLE, ratio=8, method="low-rank")
    assert relative(weighted.layer.materialize(), weights=counts) < relative(
        plain.layer.materialize(), weights=counts
    )


def test_sizes_in_the_spec_need_no_budget():
    done = memcom.compress(TABLE, method="low-rank(rank=3)")
    assert done.layer.rank == 3
    with pytest.raises(TypeError, match="needs a size: give ratio="):
        memcom.compress(TABLE, method="low-rank")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_arrays_are_tables(dtype):
    array = TABLE.numpy().astype(dtype)
    done = memcom.compress(array, ratio=4, method="low-rank")
    assert done.tables[0].nbytes_before == array.nbytes
    assert done.layer.factor.numpy(force=True).itemsize == array.dtype.itemsize
    assert done.nbytes <= array.nbytes / 4


def test_the_same_seed_gives_the_same_layer_and_torchs_generator_is_left_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = memcom.compress(TABLE, ratio=4, method="hash", seed=3).layer
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(3)
    second = memcom.compress(TABLE, ratio=4, method="hash", seed=3).layer
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_the_report_is_a_table():
    text = str(memcom.compress(Model(), ratio=4, method="low-rank"))
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["table", "method", "ids"]
    assert [line.split()[0] for line in lines[1:3]] == ["items", "bags"]
    assert lines[3] == "small is left as it is: it has 20 rows, fewer than min_rows=1,000"


# --- layers ---------------------------------------------------------------------------------------


def test_an_embedding_of_torch_becomes_a_layer():
    old = embedding(TABLE[:30], padding_idx=3, sparse=True).eval()
    with torch.no_grad():
        old.weight[3] = 0
    done = memcom.compress(old, ratio=2, method="low-rank")
    assert isinstance(done.model, memcom.LowRankEmbedding)
    assert done.model is done.layer
    assert (done.layer.padding_idx, done.layer.sparse, done.layer.training) == (3, True, False)
    assert all(p.requires_grad for p in done.layer.parameters())
    frozen = memcom.compress(nn.Embedding.from_pretrained(TABLE), ratio=2, method="low-rank")
    assert not any(p.requires_grad for p in frozen.layer.parameters())


def test_a_padding_row_that_is_not_zero_stays_a_vector():
    """`nn.Embedding` returns it, so a layer that gives zeros would change the model."""
    done = memcom.compress(embedding(padding_idx=3), ratio=2, method="int8")
    assert done.layer.padding_idx is None
    torch.testing.assert_close(done.layer(torch.tensor([3]))[0], TABLE[3], atol=0.05, rtol=0.05)


def test_a_bag_of_torch_becomes_a_bag():
    old = nn.EmbeddingBag.from_pretrained(TABLE, mode="mean", padding_idx=2, freeze=False)
    done = memcom.compress(old, ratio=2, method="int8")
    assert isinstance(done.model, memcom.EmbeddingBag)
    assert done.layer.padding_idx == 2
    torch.testing.assert_close(done.model(IDS), old(IDS), atol=0.05, rtol=0.05)
    assert done.tables[0].error < 1e-3  # padding does not count, whatever its row


def test_a_full_table_of_memcom_is_compressed_and_other_layers_are_not():
    full = memcom.FullEmbedding.from_pretrained(TABLE, padding_idx=1)
    done = memcom.compress(full, ratio=2, method="low-rank")
    assert done.layer.padding_idx == 1
    with pytest.raises(ValueError, match="QREmbedding has no nn"):
        memcom.compress(memcom.build("qr", N, E, ratio=2), ratio=2)


# --- models ---------------------------------------------------------------------------------------


def test_a_model_is_copied_around_its_new_layers():
    model = Model().eval()
    before, modules = copy.deepcopy(model.state_dict()), dict(model.named_modules())
    done = memcom.compress(model, ratio=2.5, method="int8")
    new = done.model
    assert isinstance(new, Model)
    assert new.items is new.again
    assert not new.items.training
    assert new.items.padding_idx == 0
    assert isinstance(new.bags, memcom.EmbeddingBag)
    assert isinstance(new.small, nn.Embedding)
    assert new.output is not model.output
    torch.testing.assert_close(new(IDS), model(IDS), atol=0.3, rtol=0.05)
    assert [t.name for t in done.tables] == ["items", "bags"]
    assert dict(model.named_modules()) == modules
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_in_place_the_model_itself_changes():
    model = Model()
    output = model.output
    done = memcom.compress(model, ratio=2.5, method="int8", inplace=True)
    assert done.model is model
    assert model.output is output
    assert model.items is model.again
    assert isinstance(model.items, memcom.QuantizedEmbedding)
    model(IDS).sum().backward()
    assert output.weight.grad is not None


def test_the_budget_is_that_of_all_tables_together():
    done = memcom.compress(Model(), nbytes="24 kB", method=["low-rank(bits=8)", "hash"])
    assert done.nbytes == sum(t.nbytes for t in done.tables) <= 24_000
    assert done.nbytes_before == 4 * (N * E + 3000 * 8)
    assert done.compression_ratio == pytest.approx(done.nbytes_before / done.nbytes)


def test_frequencies_by_name():
    counts = {"bags": np.arange(3000), "again": [1] * N}
    done = memcom.compress(Model(), ratio=3, method="low-rank", frequencies=counts)
    assert done.tables[1].weighted_error != done.tables[1].error
    assert done.tables[0].weighted_error == pytest.approx(done.tables[0].error)
    with pytest.raises(ValueError, match="has 'users'; the tables are items, bags"):
        memcom.compress(Model(), ratio=3, frequencies={"users": np.ones(3)})
    with pytest.raises(ValueError, match="mapping for several tables: items, bags"):
        memcom.compress(Model(), ratio=3, frequencies=np.ones(N))


def test_the_compressed_model_trains():
    model = memcom.compress(Model(), ratio=2, method="low-rank").model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = model(IDS).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = embedding()
        self.decoder = nn.Linear(E, N, bias=False)
        self.decoder.weight = self.words.weight


def test_a_tied_output_is_refused_by_both_names_or_kept():
    model = Tied()
    with pytest.raises(ValueError, match=r"words\.weight is tied to decoder\.weight"):
        memcom.compress(model, ratio=4, method="low-rank")
    new = memcom.compress(model, ratio=4, method="low-rank", tied="keep").model
    assert isinstance(new.words, memcom.LowRankEmbedding)
    assert torch.equal(new.decoder.weight, model.decoder.weight)
    assert new.decoder.weight is not model.decoder.weight


def test_two_embeddings_of_one_weight_become_one_layer():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = embedding(), nn.Embedding(N, E)
            self.b.weight = self.a.weight

    done = memcom.compress(Twice(), ratio=4, method="low-rank")
    assert done.model.a is done.model.b
    assert len(done.tables) == 1


class Hugging(nn.Module):
    """As a model of Hugging Face: names its input embeddings, and may hold them anywhere."""

    def __init__(self, inside: bool) -> None:
        super().__init__()
        words = embedding()
        self.held = nn.ModuleList([words]) if inside else [words]

    def get_input_embeddings(self):
        return self.held[0]

    def set_input_embeddings(self, value):
        self.held[0] = value


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("inplace", [True, False])
def test_input_embeddings_are_found_and_set(inside, inplace):
    model = Hugging(inside)
    done = memcom.compress(model, ratio=4, method="low-rank", inplace=inplace)
    assert isinstance(done.model.get_input_embeddings(), memcom.LowRankEmbedding)
    assert isinstance(model.get_input_embeddings(), nn.Embedding) is not inplace


def test_an_embedding_with_a_forward_or_hooks_of_its_own_is_left_as_it_is():
    class Scaled(nn.Embedding):
        def forward(self, ids):
            return 2 * super().forward(ids)

    model = nn.ModuleDict({"a": embedding(), "b": Scaled(N, E), "c": embedding()})
    model["c"].register_forward_hook(lambda *_: None)
    done = memcom.compress(model, ratio=4, method="low-rank")
    assert done.kept == {"b": "Scaled has a forward of its own", "c": "it has hooks"}
    assert type(done.model["b"]) is Scaled
    with pytest.raises(ValueError, match="it is no such: Scaled has a forward"):
        memcom.compress(Scaled(N, E), ratio=4)


# --- what is refused ------------------------------------------------------------------------------


def damaged(row: int, value: float) -> nn.Module:
    model = Model()
    with torch.no_grad():
        model.bags.weight[row, 2] = value
    return model


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        (TABLE, {}, "give ratio or nbytes: the budget"),
        (TABLE, {"ratio": 2, "nbytes": 3}, "give ratio or nbytes, not both"),
        (TABLE, {"ratio": 2, "method": []}, "at least one method"),
        (TABLE, {"ratio": 2, "inplace": True}, "inplace=True needs a model"),
        (TABLE, {"ratio": 2, "tied": "yes"}, "tied must be one of 'refuse', 'keep', 'share'"),
        (TABLE, {"ratio": 2, "frequencies": [1, 2]}, r"frequencies of table .*\(1200,\), got"),
        (TABLE, {"ratio": 2, "frequencies": -np.arange(N)}, "at least 0, got -1 for id 1"),
        (TABLE, {"ratio": 2, "frequencies": np.zeros(N)}, "must not be 0 for every id"),
        (torch.zeros(9, 3), {"ratio": 2}, r"table is constant \(all 0\), so it has not been tr"),
        (torch.arange(3.0).repeat(9, 1), {"ratio": 2}, "constant .every row is the same"),
        (torch.ones(9, 3, dtype=torch.int64), {"ratio": 2}, "table must be floating point"),
        (np.ones((9, 3), dtype=int), {"ratio": 2}, "table must be floating point .*int64"),
        (torch.ones(9), {"ratio": 2}, r"table must be \(rows, width\)"),
        (torch.ones(9, 3, device="meta"), {"ratio": 2}, "table is on the meta device"),
        (nn.Embedding.from_pretrained(torch.ones(9, 3)), {"ratio": 2}, "^weight is constant"),
        (damaged(7, float("nan")), {"ratio": 2}, r"bags\.weight has NaN .* in row 7"),
        (nn.Sequential(nn.Embedding(N, E, device="meta")), {"ratio": 2}, r"0\.weight is on the me"),
        (nn.Linear(2, 3), {"ratio": 2}, "Linear has no nn.Embedding"),
        (nn.Sequential(nn.Embedding(9, 2)), {"ratio": 2}, "0 is no such: it has 9 rows, fewer"),
        (nn.Sequential(nn.Embedding(N, E, max_norm=1)), {"ratio": 2}, "0 has max_norm=1"),
        (nn.Sequential(nn.Embedding(N, E, scale_grad_by_freq=True)), {"ratio": 2}, "0 has scale_"),
    ],
)
def test_what_cannot_be_compressed_is_refused_by_name(model, options, named):
    with pytest.raises(ValueError, match=named):
        memcom.compress(model, **options)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_tensors_are_refused():
    packed = torch.quantize_per_tensor(TABLE, 0.1, 0, torch.qint8)
    with pytest.raises(ValueError, match="table must be an ordinary tensor"):
        memcom.compress(packed, ratio=2)


def test_a_budget_that_no_method_meets_names_the_smallest_that_can():
    with pytest.raises(
        memcom.BudgetError, match=r"no method can store table .* in 9 bytes"
    ) as told:
        memcom.compress(TABLE, nbytes=9)
    found = str(told.value)
    spec = found.split("smallest that can is ")[1].split(", with")[0]
    done = memcom.compress(TABLE, nbytes=told.value.smallest, method=spec)
    assert done.nbytes <= told.value.smallest
    with pytest.raises(memcom.BudgetError, match="table: memcom cannot store"):
        memcom.compress(TABLE, ratio=100, method="memcom")


def test_a_method_that_is_trained_is_refused():
    with pytest.raises(memcom.FitError, match="DHEmbedding has no closed form"):
        memcom.compress(TABLE, ratio=4, method="dhe")


@pytest.mark.parametrize(("n", "e"), [(1, 1), (2, 1), (1, 5), (3, 2), (17, 3)])
def test_tables_of_any_size(n, e):
    table = torch.arange(1.0, n * e + 1).view(n, e)
    done = memcom.compress(table, nbytes=100 + 8 * n * e)
    assert done.tables[0].error < 0.01


def test_a_module_alone_is_not_held_in_a_model():
    with pytest.raises(ValueError, match=r"it is in \.model"):
        _ = memcom.compress(Model(), ratio=2.5, method="int8").layer
