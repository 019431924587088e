"""Specs: what a file and a command line say, in one form."""

from __future__ import annotations

import pytest

import memcom
from memcom.sweep import Source, Spec, spec_of
from memcom.sweep.spec import BASELINES, canonical

TOML = """
task = "ranking"
profile = "fast"
methods = ["qr(operation=concat)", "memcom", "full"]
ratios = [4, 16]
nbytes = ["64 KiB"]
seeds = 2
learning_rates = [3e-3, 1e-2]

[[data]]
name = "pairs.csv"
user_col = "reader"
item_col = "paper"

[rates_of]
memcom = [1e-1]

[options]
epochs = 20
dropout = 0

[vary]
embedding_dim = [64, 128]
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(TOML)
    return file


def test_a_file_in_full(path):
    spec = Spec.read(path)
    assert spec.data == (Source("pairs.csv", {"user_col": "reader", "item_col": "paper"}),)
    assert spec.nbytes == (65536,)
    first, second = spec.variants()
    assert (first["embedding_dim"], second["embedding_dim"]) == (64, 128)
    assert first["epochs"] == 20
    assert isinstance(first["dropout"], float)  # 0 and 0.0 are one setting
    grids = spec.grids(first)
    rows = [(grid[0].method, grid[0].ratio, grid[0].nbytes) for grid in grids]
    methods = (*BASELINES, "qr(operation='concat')", "memcom")
    assert rows == [
        *(("popular", None, None), ("bias-only", None, None), ("full", None, None)),
        *((method, 4.0, None) for method in methods),
        *((method, 16.0, None) for method in methods),
        *((method, None, 65536) for method in methods),
    ]
    rates = {grid[0].method: [trial.learning_rate for trial in grid] for grid in grids}
    assert rates["popular"] == [None]
    assert rates["memcom"] == [0.1]
    assert rates["full"] == [3e-3, 1e-2]
    assert {trial.seed for grid in grids for trial in grid} == {0}


def test_a_command_line_replaces_what_the_file_says(path):
    spec = spec_of(
        path,
        data="movielens",
        ratios=[8.0],
        seeds=5,
        set_options=["epochs=[1, 2]", "embedding_dim=32", "tied=True"],
    )
    assert spec.data == (Source("movielens"),)
    assert (spec.ratios, spec.nbytes, spec.seeds, spec.profile) == ((8.0,), (65536,), 5, "fast")
    assert [v["epochs"] for v in spec.variants()] == [1, 2]
    assert {v["embedding_dim"] for v in spec.variants()} == {32}
    assert {v["tied"] for v in spec.variants()} == {True}


def test_own_data_in_one_line():
    spec = spec_of(
        None,
        data="/somewhere/pairs.csv",
        columns={"user_col": "reader", "item_col": "paper", "time_col": None},
        methods=["full", "hash"],
        nbytes=("1 KB",),
    )
    assert spec.data[0].options == {"user_col": "reader", "item_col": "paper"}
    assert spec.data[0].label == "pairs.csv"
    assert (spec.ratios, spec.nbytes, spec.methods) == ((), (1000,), ("hash",))
    with pytest.raises(ValueError, match="user_col needs data"):
        spec_of(None, columns={"user_col": "reader"})


def test_one_spelling_per_method():
    assert canonical("qr(operation='concat')") == canonical("qr( operation = concat )")
    assert canonical("memcom") == "memcom"
    assert Spec(methods=("hash", "hash")).methods == ("hash",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratios": (0.5,)}, "ratios must be >= 1, got 0.5"),
        ({"ratios": ()}, "no budget"),
        ({"seeds": 0}, "at least 1, got 0"),
        ({"profile": "quick"}, "one of fast, full, got 'quick'"),
        ({"learning_rates": (0.0,)}, "must be > 0, got 0.0"),
        ({"options": {"epoch": 3}}, "no option 'epoch'"),
        ({"vary": {"learning_rate": [1]}}, "no option 'learning_rate'"),
        ({"methods": ("hush",)}, "hush"),
        ({"task": "rank"}, "task must be one of ranking"),
        ({"data": ()}, "at least one data set"),
        ({"data": ({"user_col": "u"},)}, "tables with a name"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Spec(**fields)


def test_a_file_that_is_no_spec_is_named(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("ratio = 4")
    with pytest.raises(ValueError, match=r"bad\.toml: there is no field ratio"):
        Spec.read(file)
    file.write_text("ratios = [")
    with pytest.raises(ValueError, match=r"bad\.toml"):
        Spec.read(file)


def test_every_stands_for_the_registry_and_is_told_once():
    found = Spec(methods=("memcom", "every"), ratios=(4,)).methods
    assert found[0] == "memcom"
    assert len(found) == len(set(found))
    assert set(found) == {*memcom.available(), "qr(operation='concat')"} - {"full"}
