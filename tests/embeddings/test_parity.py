"""Every row of the table in docs/howto/nn-embedding.md, against `torch.nn.Embedding`."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import memcom
from tests.embeddings.cases import make, some_ids

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "nn-embedding.md"
N, E = 60, 8
IDS = torch.randint(N, (4, 5), generator=torch.Generator().manual_seed(1))


def qr(*third, **options):
    return memcom.QREmbedding(N, E, *third, num_remainders=12, **options)


def full_and_torch(**options):
    theirs = nn.Embedding(N, E, **options)
    ours = memcom.FullEmbedding(N, E, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


# --- the rows -------------------------------------------------------------------------------------


def sizes():
    for ours, theirs in (full_and_torch(), (qr(), nn.Embedding(N, E))):
        assert (ours.num_embeddings, ours.embedding_dim) == (N, E)
        assert ours(IDS).shape == theirs(IDS).shape


def padding():
    theirs = nn.Embedding(N, E, -3)
    for ours in (qr(-3), memcom.build("qr", N, E, -3, ratio=3), memcom.FullEmbedding(N, E, -3)):
        assert ours.padding_idx == theirs.padding_idx == N - 3
        assert not ours(torch.tensor([N - 3])).any()
    with torch.no_grad():
        theirs.weight[-3] = 1
    full = memcom.FullEmbedding(N, E, -3)
    full.load_state_dict(theirs.state_dict())
    assert theirs(torch.tensor([N - 3])).all()
    assert not full(torch.tensor([N - 3])).any()


def refused(name, value, default, reason):
    assert nn.Embedding(N, E, **{name: value if name != "_weight" else torch.zeros(N, E)})
    for call, owner in (
        (qr, "QREmbedding"),
        (lambda **given: memcom.FullEmbedding(N, E, **given), "FullEmbedding"),
        (lambda **given: memcom.build("hash", N, E, ratio=2, **given), "hash"),
        (lambda **given: memcom.plan("hash", N, E, ratio=2, **given), "hash"),
    ):
        call(**{name: default})
        with pytest.raises(TypeError, match=rf"^{owner} does not take {name}: .*{reason}.*; it ta"):
            call(**{name: value})


def sparse():
    ours, theirs = full_and_torch(sparse=True)
    for layer in (ours, theirs):
        layer(IDS).sum().backward()
        assert layer.weight.grad.is_sparse
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


def placement():
    options = {"device": "meta", "dtype": torch.float64}
    for layer in (qr(**options), nn.Embedding(N, E, **options)):
        assert (layer.weight.device.type, layer.weight.dtype) == ("meta", torch.float64)


def ids():
    ours, theirs = full_and_torch()
    for wanted in (IDS, IDS.int(), IDS[:0], IDS[0, 0]):
        assert torch.equal(ours(wanted), theirs(wanted))
    for layer in (ours, theirs):
        with pytest.raises(IndexError):
            layer(torch.tensor([N]))
    with pytest.raises(IndexError, match=rf"{N} .*\[0, {N}\)"):
        qr()(torch.tensor([N]))


def weight():
    ours, theirs = full_and_torch()
    assert isinstance(ours.weight, nn.Parameter)
    assert torch.equal(ours.weight, theirs.weight)
    composed = qr(3)
    assert torch.equal(composed.weight, composed.materialize())
    assert not isinstance(composed.weight, nn.Parameter)


def from_pretrained():
    table = torch.randn(N, E)
    theirs = nn.Embedding.from_pretrained(table, padding_idx=2, sparse=True)
    ours = memcom.FullEmbedding.from_pretrained(table, padding_idx=2, sparse=True)
    others = IDS[IDS != 2]
    assert torch.equal(ours(others), theirs(others))
    assert ours.weight.requires_grad == theirs.weight.requires_grad is False
    assert memcom.QREmbedding.from_pretrained(table, freeze=False, ratio=2).weight.requires_grad


def reset():
    for layer in (memcom.FullEmbedding(5000, E), nn.Embedding(5000, E), make("qr", n=5000)):
        layer.reset_parameters()
        assert float(layer.weight.detach().std()) == pytest.approx(1, rel=0.2)


def state():
    ours, theirs = full_and_torch()
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"]
    assert [name for name, _ in ours.named_parameters()] == ["weight"]
    theirs.load_state_dict(ours.state_dict())
    for old, fresh in (("table", ours), ("0.table", nn.Sequential(memcom.FullEmbedding(N, E)))):
        fresh.load_state_dict({old: torch.ones(N, E)})
        assert fresh(IDS).eq(1).all()
    assert list(qr().state_dict()) == ["remainder", "quotient"]


def bag():
    for mode in ("sum", "mean", "max"):
        theirs = nn.EmbeddingBag(N, E, mode=mode, padding_idx=3)
        ours = memcom.EmbeddingBag(N, E, mode=mode, padding_idx=3)
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(IDS), theirs(IDS))
        assert (ours.num_embeddings, ours.embedding_dim, ours.padding_idx) == (N, E, 3)
        assert torch.equal(ours.weight, theirs.weight)
    assert memcom.EmbeddingBag(N, E).mode == nn.EmbeddingBag(N, E).mode
    layer = qr()
    assert torch.equal(memcom.EmbeddingBag(layer, mode="sum").weight, layer.weight)
    for name, value in (("max_norm", 1.0), ("norm_type", 1.0), ("scale_grad_by_freq", True)):
        with pytest.raises(TypeError, match=f"^EmbeddingBag does not take {name}: "):
            memcom.EmbeddingBag(N, E, **{name: value})
    with pytest.raises(TypeError, match="it takes include_last_offset, mode"):
        memcom.EmbeddingBag(layer, padding_idx=3)
    for wrong in ((N,), (N, E, "sum"), ("qr",), (layer, "sum", 3)):
        with pytest.raises(TypeError, match="EmbeddingBag takes a"):
            memcom.EmbeddingBag(*wrong)


def copies():
    layer = memcom.FullEmbedding(N, E)
    others = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    others += [torch.compile(layer, fullgraph=True, backend="eager")]
    others += [torch.export.export(layer, (IDS,)).module()]
    for other in others:
        assert torch.equal(other(IDS), layer(IDS))


def script():
    torch.jit.script(nn.Embedding(N, E))
    with pytest.raises(Exception, match=r"annotation|script"):
        torch.jit.script(qr())


def kind():
    assert not isinstance(qr(), nn.Embedding)
    assert not isinstance(memcom.FullEmbedding(N, E), nn.Embedding)


ROWS = {
    "`num_embeddings, embedding_dim`": sizes,
    "`padding_idx`": padding,
    "`max_norm`": lambda: refused("max_norm", 1.0, None, "share what is stored"),
    "`norm_type`": lambda: refused("norm_type", 1.0, 2.0, "max_norm"),
    "`scale_grad_by_freq`": lambda: refused("scale_grad_by_freq", True, False, "sum over ids"),
    "`sparse`": sparse,
    "`_weight`": lambda: refused("_weight", torch.ones(N, E), None, "from_pretrained"),
    "`_freeze`": lambda: refused("_freeze", True, False, "requires_grad_"),
    "`device`, `dtype`": placement,
    "ids": ids,
    "`.weight`": weight,
    "`from_pretrained`": from_pretrained,
    "`reset_parameters()`": reset,
    "`state_dict()`": state,
    "`nn.EmbeddingBag(n, d, mode=...)`": bag,
    "`copy`, `pickle`, `compile`, `export`": copies,
    "`torch.jit.script`": script,
    "`isinstance(layer, nn.Embedding)`": kind,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table(row):
    ROWS[row]()


def test_every_row_is_tested_and_every_argument_of_torch_has_one():
    found = re.findall(r"^\| (.+?) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found[0] == "`torch.nn.Embedding`"
    assert set(found) - {found[0], "---"} == set(ROWS)
    arguments = list(inspect.signature(nn.Embedding).parameters)
    assert {a for a in arguments if not any(re.search(rf"\b{a}\b", row) for row in ROWS)} == set()


# --- calls ----------------------------------------------------------------------------------------


def test_more_sizes_by_position_are_refused():
    for given, said in (((0, 1.0), "got 4 by position"), ((0,), "padding_idx by name")):
        with pytest.raises(TypeError, match=f"QREmbedding takes num_embeddings.*{said}"):
            memcom.QREmbedding(N, E, *given, num_remainders=9, padding_idx=1)
    with pytest.raises(TypeError):
        memcom.HeadEmbedding(qr(), 3, 0)


def test_a_name_that_is_mistyped_gets_the_list_and_a_suggestion():
    with pytest.raises(TypeError, match=r"^qr does not take operaton; it takes .*'operation'\?$"):
        memcom.build("qr", N, E, ratio=2, operaton="concat")
    with pytest.raises(TypeError, match=r"^QREmbedding does not take num_remaindr; it takes .*rs'"):
        memcom.QREmbedding(N, E, num_remaindr=3)


def test_help_shows_the_constructor_and_not_the_metaclass():
    shown = str(inspect.signature(memcom.MEmComEmbedding))
    assert "num_buckets" in shown
    assert "self" not in shown


def test_a_class_of_ones_own_may_take_any_options():
    class Mine(memcom.QREmbedding):
        def __init__(self, num_embeddings, embedding_dim, **kwargs):
            self.mine = kwargs.pop("mine")
            super().__init__(num_embeddings, embedding_dim, **kwargs)

    assert Mine(N, E, mine=3, num_remainders=9).mine == 3


# --- weight ---------------------------------------------------------------------------------------


def test_gradients_of_the_weight_reach_the_parameters():
    layer, same = qr(3), qr(3)
    same.load_state_dict(layer.state_dict())
    hidden = torch.randn(2, E)
    F.linear(hidden, layer.weight).square().sum().backward()
    (hidden @ same(torch.arange(N)).T).square().sum().backward()
    for ours, theirs in zip(layer.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    with torch.no_grad():
        assert not (layer.weight + 1).requires_grad


def test_shape_type_and_device_are_known_without_the_table(monkeypatch):
    layer = qr()

    def never(*_):
        raise AssertionError("composed")

    monkeypatch.setattr(memcom.QREmbedding, "_all_vectors", never)
    found = layer.weight
    assert hasattr(layer, "weight")
    assert (found.shape, found.ndim, len(found), found.numel()) == ((N, E), 2, N, N * E)
    assert (found.size(0), found.dim(), found.dtype) == (N, 2, torch.float32)
    assert found.device == layer.device
    assert found.is_floating_point()
    assert found.requires_grad
    assert not layer.requires_grad_(False).weight.requires_grad
    with pytest.raises(AssertionError, match="composed"):
        _ = layer.weight + 1


@pytest.mark.parametrize(
    "write",
    [
        lambda layer: nn.init.normal_(layer.weight),
        lambda layer: nn.init.xavier_uniform_(layer.weight),
        lambda layer: layer.weight.data.normal_(),
        lambda layer: layer.weight.data[0].zero_(),
        lambda layer: layer.weight.data.copy_(torch.zeros(N, E)),
        lambda layer: layer.weight[3].fill_(0),
        lambda layer: layer.weight.__setitem__(3, 0.0),
        lambda layer: layer.weight.__iadd__(1),
        lambda layer: layer.weight.detach().mul_(2),
        lambda layer: layer.weight.requires_grad_(False),
        lambda layer: setattr(layer.weight, "data", torch.zeros(N, E)),
        lambda layer: setattr(layer.weight, "requires_grad", False),
        lambda layer: torch.add(torch.ones(N, E), 1, out=layer.weight),
        lambda layer: setattr(layer, "weight", nn.Parameter(torch.zeros(N, E))),
        lambda layer: setattr(layer, "weight", torch.zeros(N, E)),
        lambda layer: layer.register_parameter("weight", None),
    ],
)
def test_writing_to_the_weight_is_refused_in_words(write):
    layer = qr()
    before = copy.deepcopy(layer.state_dict())
    with torch.no_grad(), pytest.raises((RuntimeError, AttributeError), match=r"^QREmbedding\.wei"):
        write(layer)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


def test_what_is_computed_from_the_weight_is_an_ordinary_tensor():
    layer = qr()
    for found in (layer.weight + 1, layer.weight.clone(), torch.cat([layer.weight, layer.weight])):
        assert type(found) is torch.Tensor
        found.detach().zero_()
    with pytest.raises(ValueError, match="non-leaf"):
        torch.optim.SGD([layer.weight], lr=1)
    compiled = torch.compile(lambda x: x @ layer.weight.T, fullgraph=True, backend="eager")
    x = torch.randn(2, E)
    torch.testing.assert_close(compiled(x), x @ layer.materialize().T)


def test_the_weight_of_a_full_table_can_be_shared():
    layer, head = memcom.FullEmbedding(N, E), nn.Linear(E, N, bias=False)
    head.weight = layer.weight
    head(layer(some_ids(3, n=N))).sum().backward()
    assert layer.weight.grad is head.weight.grad
    layer.weight = nn.Parameter(torch.ones(N, E))
    assert layer(IDS).eq(1).all()


def test_packed_rows_of_a_full_table_have_a_composed_weight_and_load_the_older_name():
    layer = memcom.build("full", N, E, bits=8).freeze()
    assert {key.partition(".")[0] for key in layer.state_dict()} == {"weight"}
    assert torch.equal(layer.weight, layer.materialize())
    other = memcom.build("full", N, E, bits=8).freeze()
    older = {key.replace("weight", "table"): value for key, value in layer.state_dict().items()}
    other.load_state_dict(older)
    assert torch.equal(other.weight, layer.weight)
