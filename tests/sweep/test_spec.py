"""Specs: what a file and a command line say, in one form."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import memcom
from memcom.sweep import Source, Spec, spec_of, tables
from memcom.sweep.spec import BASELINES, canonical
from memcom.tasks import get_task

NAN, INF = math.nan, math.inf

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
        *(
            ({"ratios": (bad,)}, f">= 1, got {bad!r}")
            for bad in (0.5, -1, NAN, INF, True, "4", None)
        ),
        ({"ratios": (10**400,)}, ">= 1, got 1000"),
        ({"ratios": 4}, "a list of numbers"),
        ({"ratios": "4"}, "a list of numbers"),
        ({"ratios": ()}, "no budget"),
        *(
            ({"seeds": bad}, f"from 1 to 10,000, got {bad!r}")
            for bad in (0, -1, 1.5, 3.0, NAN, True, "3", None, 10**6)
        ),
        *(({"profile": bad}, f"one of fast, full, got {bad!r}") for bad in ("quick", 3, None)),
        ({"profile": []}, "one of fast, full"),
        *(
            ({"learning_rates": (0.1, bad)}, f"> 0, got {bad!r}")
            for bad in (0.0, -1, NAN, INF, "x", True)
        ),
        ({"learning_rates": 0.1}, "a list of numbers"),
        *(
            ({"nbytes": (bad,)}, f"nbytes|size.*{bad}")
            for bad in ("0.5", 0, -5, "x", "1e9", 1.5, True, None, NAN)
        ),
        ({"nbytes": "64 KiB"}, "a list of sizes"),
        ({"options": {"epoch": 3}}, "no option 'epoch'"),
        ({"options": ["epochs"]}, "a table of names"),
        *(
            ({"options": {name: bad}}, f"{name} must be .*got {bad!r}")
            for name in ("epochs", "embedding_dim", "batch_size", "k")
            for bad in (0, -1, "x", NAN, INF, 1.5, 20.0, True, None)
        ),
        *(
            ({"options": {"dropout": bad}}, f"dropout must .*{bad!r}")
            for bad in (1, -0.1, NAN, "x")
        ),
        *(({"options": {"held_out": bad}}, "held_out must .*") for bad in (0, 1, INF, None)),
        *(
            ({"options": {"tied": bad}}, f"tied must be true or false.*{bad!r}")
            for bad in (1, "no")
        ),
        *(({"options": {"hidden": bad}}, "hidden must be ") for bad in (8, [0], [8.5], ["x"])),
        ({"task": "clicks", "options": {"model": 3}}, "model must be a text, got 3"),
        ({"task": "clicks", "options": {"model": "dln"}}, "model must be 'dlrm' or 'dcn'"),
        ({"task": "text", "options": {"std": 0}}, "std must be > 0"),
        ({"task": "text", "options": {"max_tokens": 0}}, "max_tokens must be at least 1"),
        ({"task": "streaming", "options": {"embedding_dim": 0}}, "embedding_dim must"),
        ({"vary": {"learning_rate": [1]}}, "no option 'learning_rate'"),
        ({"vary": {"epochs": 3}}, "vary epochs must be a list"),
        ({"vary": {"epochs": []}}, "vary epochs must have at least one"),
        ({"vary": {"epochs": [3, "x"]}}, "epochs must be a whole number"),
        ({"vary": 3}, "a table of names"),
        ({"methods": ("hush",)}, "hush"),
        ({"methods": "hash"}, "a list of names"),
        ({"methods": (3,)}, "a method is a name, got 3"),
        ({"methods": ("hash(" + "not " * 50_000 + "x)",)}, "a method is written"),
        ({"methods": ("hash(x={[]: 1})",)}, "a method is written"),
        (
            {"methods": ("qr(num_bucket=3)",)},
            r"qr\(num_bucket=3\): qr does not take num_bucket.*it takes .*num_remainders",
        ),
        ({"methods": ("qr(operation=times)",)}, "operation must be .*'times'"),
        ({"methods": ("hash(sparse=yes)",)}, "sparse must be .*'yes'"),
        ({"methods": ("hash(seed=x)",)}, "seed must be .*'x'"),
        ({"methods": ("hash(num_buckets=9)",)}, "give num_buckets or ratio"),
        ({"methods": ("hash(ratio=3)",)}, "ratio is no option of a method in a sweep"),
        ({"methods": ("hash(head=-1)",)}, "head must be .*-1"),
        ({"task": "rank"}, "task must be one of ranking"),
        ({"task": "no.such:thing"}, "'no.such:thing': there is no module no"),
        ({"task": "memcom.nothing:thing"}, "there is no module memcom.nothing"),
        ({"task": ".relative:thing"}, "no module:attribute"),
        ({"task": "os:path"}, "os:path is no task"),
        ({"task": 3}, "task must be a name, got 3"),
        ({"data": ()}, "at least one data set"),
        ({"data": 3}, "tables with a name, got 3"),
        ({"data": ({"user_col": "u"},)}, "tables with a name"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_data_is_loaded(fields, message):
    with pytest.raises(ValueError, match=message):
        Spec(**fields)


def test_options_that_some_number_of_ids_makes_right_are_kept():
    methods = ("hash(head=9000000)", "hash(head=100)", "memcom(bias=True)", "hash(bits=8)")
    assert Spec(methods=methods).methods == methods


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["hash", "qr(operation=concat)", "hash(a=1)", "qr(operation=x)", "1 kB", "full"]
    )
    | st.sampled_from([1, 2, 4.0, 8, 16, 0.1, 10**12, 2**62, "popular", "movielens"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
OPTION_NAMES = sorted(set(get_task("ranking").profiles["fast"]) - {"learning_rates"})
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        **{each.name: ANYTHING for each in dataclasses.fields(Spec)},
        "methods": st.lists(ANYTHING, max_size=2) | ANYTHING,
        "ratios": st.lists(ANYTHING, max_size=2) | ANYTHING,
        "nbytes": st.lists(ANYTHING, max_size=2) | ANYTHING,
        "options": st.dictionaries(st.sampled_from(OPTION_NAMES), ANYTHING, max_size=2) | ANYTHING,
        "vary": st.dictionaries(st.sampled_from(OPTION_NAMES), st.lists(ANYTHING, max_size=2)),
        "tune": st.fixed_dictionaries(
            {"space": st.dictionaries(st.sampled_from(OPTION_NAMES), ANYTHING, max_size=2)},
            optional={"budget": ANYTHING | st.integers(1, 4), "seed": ANYTHING, "epochs": ANYTHING},
        ),
    },
)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(FIELDS)
def test_whatever_is_written_is_a_plan_or_a_sentence(data, fields):
    try:
        spec = Spec(**fields)
        for table in tables(spec, data):
            assert all(cell.size or cell.impossible for cell in table.cells)
    except ValueError as error:
        words = str(error)
        assert len(words.split()) >= 3
        assert not re.search(r"object (is not|has no)|unexpected type|Traceback|NoneType", words), (
            words
        )


def test_a_file_that_is_no_spec_is_named(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("ratio = 4")
    with pytest.raises(ValueError, match=r"bad\.toml: there is no field ratio"):
        Spec.read(file)
    for content in (b"ratios = [", b"# \xe9", b"\xff\xfer", b"a = " + b"[" * 100_000):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.toml is no TOML file in UTF-8"):
            Spec.read(file)


def test_every_stands_for_the_registry_and_is_told_once():
    found = Spec(methods=("memcom", "every"), ratios=(4,)).methods
    assert found[0] == "memcom"
    assert len(found) == len(set(found))
    assert set(found) == {*memcom.available(), "qr(operation='concat')"} - {"full"}


def test_baselines_and_controls_can_be_left_out():
    def rows(**fields):
        spec = Spec(methods=("hash",), ratios=(4,), references=(), **fields)
        return [grid[0].method for grid in spec.grids(spec.variants()[0])]

    assert rows() == ["popular", "bias-only", "full", *BASELINES, "hash"]
    assert rows(baselines=(), controls=["popular"]) == ["popular", "full", "hash"]
    assert rows(baselines=["qr"], controls=()) == ["full", "qr", "hash"]
    with pytest.raises(ValueError, match="controls must be one of popular, bias-only, got 'hash'"):
        rows(controls=["hash"])
    with pytest.raises(ValueError, match="hush"):
        rows(baselines=["hush"])


def test_references_are_all_of_the_task_in_the_full_profile_and_none_in_the_fast():
    assert Spec(profile="full").references == get_task("ranking").references
    assert Spec(profile="fast").references == ()
    assert Spec(profile="full", references=()).references == ()
    named = Spec(references=["ease", "popular", "bpr"])
    assert named.references == ("ease", "bpr")  # popular is a control, there anyhow
    rows = [grid[0] for grid in named.grids(named.variants()[0])]
    assert [row.method for row in rows[:5]] == ["popular", "bias-only", "full", "ease", "bpr"]
    assert [row.learning_rate for row in rows[3:5]] == [None, None]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"references": ["svd"]}, "each of references must be one of ease, .* got 'svd'"),
        ({"references": "ease"}, "references must be a list"),
        ({"task": "text", "references": ["ease"]}, "must be one of prior"),
    ],
)
def test_references_that_the_task_does_not_have(fields, reason):
    with pytest.raises(ValueError, match=reason):
        Spec(**fields)
