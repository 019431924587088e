"""A method is one file, one line of the registry and one test: shown by adding one."""

from __future__ import annotations

import importlib
import inspect
import sys

import pytest
import torch

import memcom
from benchmarks.methods import shipped
from memcom.collisions.distinct import uniqueness
from memcom.course.family import family_table
from memcom.embeddings import REGISTRY
from memcom.export import load, save
from memcom.plots import method_style
from tests.embeddings import test_contract as contract

TOY = '''
"""Modulo: an id reads the row of its remainder."""

from torch import nn

from memcom.addresses import Digit
from memcom.embeddings import Card, Sizes, TableEmbedding, register
from memcom.kernels import Read, Recipe


@register("toy")
class ToyEmbedding(TableEmbedding):
    card = Card(
        label="toy",
        formula="U[i mod m]",
        distinct="never",
        because="m rows for n > m ids",
        use_when="To show how a method is added.",
        look=("toys", 1),
    )

    def __init__(self, num_embeddings, embedding_dim, *, num_rows, **common):
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_rows = num_rows
        self.table = self.new_table(num_rows, embedding_dim)
        self.reset_parameters()

    def recipe(self):
        return Recipe((Read("table", self.table, Digit(self.num_rows)),))

    def reset_parameters(self, std=1.0):
        nn.init.normal_(self.table, std=std)

    @classmethod
    def sizes(cls, num_embeddings, embedding_dim, **options):
        return Sizes(range(1, num_embeddings), lambda rows: {"num_rows": rows}, "one row is left")
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_method.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("toy_method").ToyEmbedding
    del REGISTRY["toy"], sys.modules["toy_method"]


CLAUSES = {
    name: clause
    for name, clause in vars(contract).items()
    if name.startswith("test_") and {"spec", "name"} & set(inspect.signature(clause).parameters)
}


@pytest.mark.parametrize("clause", [name for name in CLAUSES if "onnx" not in name])
def test_a_new_method_is_held_to_the_contract(toy, clause, tmp_path):
    given = {"spec": "toy", "name": "toy", "tmp_path": tmp_path}
    CLAUSES[clause](**{p: given[p] for p in inspect.signature(CLAUSES[clause]).parameters})


def test_a_new_method_is_known_everywhere(toy, tmp_path):
    assert memcom.available()[-1] == "toy"
    layer = memcom.build("toy", 100, 8, ratio=5)
    assert type(layer) is toy
    assert layer.nbytes == 20 * 8 * 4
    assert str(uniqueness(layer)) == "never: m rows for n > m ids"
    assert "never" in str(memcom.audit(layer))
    (row,) = family_table(100, 8, ratio=5, names=["toy"])
    assert (row.card, row.nbytes, row.equal_pairs) == (toy.card, layer.nbytes, 20 * 10)
    style = method_style("toy(num_rows=3)")
    assert style.label == "toy (num_rows=3)"
    assert (style.color, style.marker) not in {
        (s.color, s.marker) for s in map(method_style, memcom.available()[:-1])
    }
    assert dict(shipped(100, 8))["toy"].num_rows < 100
    back = load(save(layer, tmp_path / "toy.safetensors"))
    assert torch.equal(back.materialize(), layer.materialize())


def test_names_are_checked(toy):
    register = memcom.register
    assert register("toy")(toy) is toy
    with pytest.raises(ValueError, match="'qr' is the name of QREmbedding"):
        register("qr")(toy)
    with pytest.raises(ValueError, match="letters, digits and '-', got 'my toy'"):
        register("my toy")(toy)
    with pytest.raises(ValueError, match=r"Bare needs a card"):
        register("bare")(type("Bare", (toy,), {}))


def test_notes_on_methods_come_once_and_for_methods_only():
    (note,) = memcom.embeddings.notes_on(["full", "qr", "qr(large='quotient')", "popular"])
    assert "qr is read by the remainder" in note
    assert "qr(large=quotient) by the quotient" in note
    lma, rounded = memcom.embeddings.notes_on(["lma(num_picks=2)", "int8", "int4"])
    assert "lma has 8 keys of 8 bits" in lma
    assert "int8(clip=greedy)" in rounded
    assert memcom.embeddings.notes_on(["hash", "bias-only"]) == []


def test_notes_are_short_sentences_that_name_the_method():
    notes = {name: cls.card.note for name, cls in REGISTRY.items() if cls.card.note}
    assert set(notes) >= {"lma", "lhf", "scall", "int8", "int4", "pep", "amtl", "robe"}
    for name, note in notes.items():
        assert name in note
        for sentence in note.split(". "):
            assert len(sentence) <= 240, name
        assert note.endswith("."), name


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("low-rank", ("low-rank", {})),
        ("qr(operation=concat)", ("qr", {"operation": "concat"})),
        ("bch(shared=True, hash=3)", ("bch", {"shared": True, "hash": 3})),
        ("hash(seed=None)", ("hash", {"seed": None})),
    ],
)
def test_specs(spec, parsed):
    assert memcom.parse_spec(spec) == parsed


@pytest.mark.parametrize("spec", ["qr(", "qr(add)", "qr(operation=f(3))", "", "1"])
def test_malformed_specs_are_refused(spec):
    with pytest.raises(ValueError, match="a method is written"):
        memcom.parse_spec(spec)
