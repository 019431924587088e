"""No argument of a public function leads to an error that is not about the argument.

Hostile values are put in the place of every argument, over all methods. Allowed are a result, or
our ValueError, TypeError, IndexError or BudgetError, raised by memcom itself. All tests of this
file together take about half a minute.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import memcom
from memcom import tasks
from memcom._annotations import checked
from memcom._text import parse_nbytes
from memcom.data import load as load_data
from memcom.export import load, save
from memcom.sweep import Interval
from tests.embeddings.cases import make

# Of torch's own words for the shape of a bag the docstring speaks.
OURS = (str(Path(memcom.__file__).parent), torch.nn.functional.__file__)
N, E = 100, 8
HOSTILE = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 10**6, 2**31, 2**40, 2**62, 2**63, -(2**63)),
    *(10**400, -(10**400), 10**5000, 0.5, -0.5, 1.5, 1e300, 1e-300, 1e22),
    *(float("inf"), float("-inf"), float("nan"), 1j, Fraction(1, 2), Decimal("0.5")),
    *("x", "", "sum", "1.5", "1,5 MB", b"x", [], [1], [0], [2, 3], (10, 10), (2**62, 2**62)),
    *([1.5], {}, {"a": 1}, object(), len, range(3), np.int64(2), np.float32(0.5)),
    *(np.array([1, 2]), torch.tensor(2), torch.tensor([1, 2]), torch.float16, torch.int32),
    *("cpu", "meta", "nope", "cuda:99"),
]
COMMON = ("padding_idx", "sparse", "device", "dtype", "head", "bits", "weight_bits", "clip")
COMMON += ("rounding",)
SIZED = {
    name: dict(memcom.plan(name, N, E, ratio=1 if name == "full" else 1.5).arguments)
    for name in memcom.available()
}
searched = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def in_words(call):
    """Return what a call returns, or None if it refuses; any other error is a failure."""
    try:
        return call()
    except (ValueError, TypeError, IndexError) as error:
        refused = error
    frame = traceback.extract_tb(refused.__traceback__)[-1]
    assert frame.filename.startswith(OURS), f"{frame.filename}:{frame.lineno}: {refused!r}"
    assert not isinstance(refused, UnicodeError)
    assert str(refused)
    return None


def options(name: str) -> list[str]:
    parameters = list(inspect.signature(memcom.get(name).__init__).parameters)[3:]
    return [*(each for each in parameters if each != "common"), *COMMON]


CHOICES = [(name, option) for name in memcom.available() for option in options(name)]


@searched
@given(st.sampled_from(CHOICES), st.sampled_from(HOSTILE), st.booleans())
def test_options_of_every_method(choice, value, by_ratio):
    name, option = choice
    sizes = {"ratio": 1.5} if by_ratio else SIZED[name]
    planned = in_words(lambda: memcom.plan(name, N, E, **{**sizes, option: value}))
    if planned is not None and not by_ratio and option in SIZED[name]:
        assert planned.arguments[option] == value


@searched
@given(
    st.sampled_from(memcom.available()),
    st.sampled_from(["name", "num_embeddings", "embedding_dim", "ratio", "nbytes"]),
    st.sampled_from(HOSTILE),
)
def test_sizes_and_budgets_of_every_method(name, option, value):
    arguments = {"name": name, "num_embeddings": N, "embedding_dim": E, "ratio": 1.5}
    if option == "nbytes":
        del arguments["ratio"]
    planned = in_words(lambda: memcom.plan(**arguments | {option: value}))
    if planned is not None and option in ("ratio", "nbytes") and value is not None:
        assert 0 < planned.nbytes <= planned.budget


@searched
@given(st.sampled_from(memcom.available()), st.sampled_from(COMMON[:4]), st.sampled_from(HOSTILE))
def test_constructors_of_every_method(name, option, value):
    in_words(lambda: memcom.get(name)(N, E, **{**SIZED[name], option: value}))


LAYER = memcom.build("memcom", N, E, ratio=4)
BAG = memcom.EmbeddingBag(LAYER, "sum")
WEIGHTS = [torch.nn.Parameter(torch.zeros(3, 2))]
CALLS = {
    "SGD, lr": lambda v: memcom.optim.SGD(WEIGHTS, lr=v),
    "RowwiseAdagrad, eps": lambda v: memcom.optim.RowwiseAdagrad(WEIGHTS, eps=v),
    "LazyAdam, betas": lambda v: memcom.optim.LazyAdam(WEIGHTS, betas=v),
    "LazyAdam, beta": lambda v: memcom.optim.LazyAdam(WEIGHTS, betas=(v, 0.9)),
    "fuse": lambda v: memcom.optim.SGD(WEIGHTS).fuse(v),
    "unfuse": lambda v: memcom.optim.SGD(WEIGHTS).unfuse(v),
    "plan_tables": lambda v: memcom.plan_tables("qr", v, E, ratio=4),
    "plan_tables, one": lambda v: memcom.plan_tables("qr", {"a": v}, E, ratio=4),
    "plan_tables, width": lambda v: memcom.plan_tables("qr", {"a": 9}, v, ratio=4),
    "plan_tables, ratio": lambda v: memcom.plan_tables("qr", {"a": 900}, E, ratio=v),
    "plan_tables, threshold": lambda v: memcom.plan_tables("qr", {"a": 9}, E, ratio=1, threshold=v),
    "get": memcom.get,
    "parse_spec": memcom.parse_spec,
    "parse_nbytes": parse_nbytes,
    "quantize": memcom.quantize,
    "quantize, bits": lambda v: memcom.quantize(LAYER, v),
    "quantize, weight_bits": lambda v: memcom.quantize(LAYER, 8, weight_bits=v),
    "quantize, clip": lambda v: memcom.quantize(LAYER, 8, clip=v),
    "ids": LAYER,
    "addresses": LAYER.addresses,
    "bag": memcom.EmbeddingBag,
    "bag, mode": lambda v: memcom.EmbeddingBag(LAYER, v),
    "bag, last": lambda v: memcom.EmbeddingBag(LAYER, include_last_offset=v),
    "bag, ids": BAG,
    "resize": LAYER.resize_num_embeddings,
    "multi": lambda v: memcom.multi_embedding(v, lambda: LAYER, lambda: LAYER),
    "fields": lambda v: memcom.FieldEmbeddings([v]),
}


@pytest.mark.parametrize("call", CALLS)
def test_other_functions(call):
    for value in HOSTILE:
        if call == "resize" and isinstance(value, int) and 1000 < value < 2**40:
            continue  # a layer of that size
        in_words(lambda value=value: CALLS[call](value))


def test_saving_and_loading(tmp_path):
    path = save(LAYER, tmp_path / "layer.safetensors")
    for value in HOSTILE:
        in_words(lambda value=value: load(path, into=value))
        in_words(lambda value=value: load(path, device=value))
        in_words(lambda value=value: save(value, path))
        if not isinstance(value, str):
            in_words(lambda value=value: load(value))
            in_words(lambda value=value: save(LAYER, value))


DATA_OPTIONS = ["user_col", "item_col", "time_col", "rating_col", "label_col", "field_cols"]
DATA_OPTIONS += ["dense_cols", "split", "seed", "min_rating", "separator", "encoding"]


@pytest.mark.parametrize("option", ["name", *DATA_OPTIONS])
def test_loading_data(tmp_path, option):
    pytest.importorskip("pandas")
    path = tmp_path / "own.csv"
    path.write_text("u,i,t\n" + "".join(f"{row % 3},{row},{row}\n" for row in range(30)))
    for value in HOSTILE:
        if option == "name":
            in_words(lambda value=value: memcom.data.load(value))
        else:
            arguments = {"user_col": "u", "item_col": "i", "rating_col": "t", option: value}
            in_words(lambda arguments=arguments: memcom.data.load(path, **arguments))


MADE = {
    "synthetic": "num_items num_users interactions_per_user exponent rank strength candidates seed",
    "synthetic-clicks": "num_rows cardinalities num_dense num_crosses exponent rank strength "
    "bias_strength click_rate seed",
}


@pytest.mark.parametrize(
    ("name", "option"), [(n, o) for n, all_ in MADE.items() for o in all_.split()]
)
def test_made_data(name, option):
    small = {
        "synthetic": {"num_items": 50, "num_users": 9, "interactions_per_user": 5},
        "synthetic-clicks": {"num_rows": 50, "cardinalities": (3, 9), "num_crosses": 1},
    }[name]
    for value in HOSTILE:
        if isinstance(value, int) and 1000 < value < 2**40 and option != "seed":
            continue  # data of that size
        in_words(lambda value=value: memcom.data.load(name, **{**small, option: value}))


@pytest.mark.parametrize("name", memcom.available())
def test_integers_of_numpy_are_integers(name, tmp_path):
    numpys = {
        key: [np.int64(each) for each in value]
        if isinstance(value, list | tuple)
        else np.int64(value)
        if type(value) is int
        else value
        for key, value in SIZED[name].items()
    }
    torch.manual_seed(0)
    plain = memcom.get(name)(N, E, **SIZED[name], padding_idx=2)
    torch.manual_seed(0)
    layer = memcom.get(name)(np.int64(N), np.int32(E), **numpys, padding_idx=np.int64(2))
    for ids in (torch.arange(N), torch.arange(N).repeat(20)):
        assert torch.equal(layer(ids), plain(ids))
    back = load(save(layer, tmp_path / "layer.safetensors"))
    assert torch.equal(back(torch.arange(N)), plain(torch.arange(N)))
    planned = memcom.plan(name, np.int64(N), np.int64(E), **numpys)
    assert planned == memcom.plan(name, N, E, **SIZED[name])
    assert str(planned) == str(memcom.plan(name, N, E, **SIZED[name]))


@pytest.mark.parametrize("name", memcom.available())
def test_a_size_beside_a_budget_is_kept_or_refused(name):
    for size, value in SIZED[name].items():
        for budget in ({"ratio": 1.5}, {"nbytes": 1000}):
            for other in (value, 1, 0):
                try:
                    planned = memcom.plan(name, N, E, **budget, **{size: other})
                except (ValueError, TypeError) as error:
                    refused = error
                else:
                    assert planned.arguments[size] == other
                    continue
                assert size in str(refused) or isinstance(refused, memcom.BudgetError)


@pytest.mark.parametrize("name", sorted(set(memcom.available()) - {"full", "int8", "int4", "qr"}))
def test_a_method_without_a_size_names_the_budget(name):
    with pytest.raises(TypeError, match=r"needs a size: give ratio=, nbytes= or \w+"):
        memcom.build(name, 1000, 16)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"ratio": float("inf")}, "ratio .*inf"),
        ({"nbytes": "0.5"}, "1 to .*'0.5'"),
        ({"nbytes": "1,5 MB"}, "'1.5 MB'.*'1,5 MB'"),
        ({"nbytes": 10**400}, "bytes must be .*>= 1"),
        ({"ratio": 2, "embedding_dim": 0}, "embedding_dim .*0"),
        ({"ratio": 2, "embedding_dim": 2**62}, f"embedding_dim .*{2**62}"),
        ({"ratio": 2, "dtype": torch.int32}, "dtype .*int32"),
        ({"ratio": 2, "device": "nope"}, "device .*'nope'"),
        ({"ratio": 4, "num_buckets": 0}, "num_buckets or ratio"),
        ({"nbytes": 400, "num_buckets": 5}, "num_buckets or nbytes"),
        ({"ratio": 2, "sparse": "yes"}, "sparse .*'yes'"),
        ({"ratio": 2, "widht": 3}, "hash does not take widht; it takes"),
    ],
)
def test_known_faults_are_refused_by_name(arguments, named):
    arguments = {"name": "hash", "num_embeddings": 100, "embedding_dim": 8} | arguments
    with pytest.raises((ValueError, TypeError), match=named):
        memcom.build(**arguments)


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("hash(seed=-1)", {"seed": -1}),
        ("jagged(alpha=-0.5)", {"alpha": -0.5}),
        ("jagged(alpha=1e-1)", {"alpha": 0.1}),
        ("hash(x=a-b)", {"x": "a-b"}),
        ("hash(x='a-b')", {"x": "a-b"}),
        ("hash(x=a_b)", {"x": "a_b"}),
        (" low-rank( rank = 3 ) ", {"rank": 3}),
        ("crt(moduli=[10, 11], operation=mult)", {"moduli": [10, 11], "operation": "mult"}),
        ("hash()", {}),
    ],
)
def test_specs_are_read_as_written(spec, parsed):
    assert memcom.parse_spec(spec) == (spec.partition("(")[0].strip(), parsed)


@pytest.mark.parametrize(
    "spec",
    [
        "hash(**{'a': 1})",
        "hash(*[1])",
        "hash(a=1, a=2)",
        "hash(a=1)(b=2)",
        "hash(a=1) or qr(b=2)",
        "hash(a=" + "not " * 50_000 + "1)",
        "hash(a=" + "(" * 300 + ")" * 300 + ")",
        "hash(a=b+c)",
        "hash(a=b.c)",
        "hash(a=__import__('os'))",
        "hash(a=1",
        "hash)",
        "hash(\0)",
        "hash(a='" + "x" * 2000 + "')",
    ],
)
def test_other_specs_are_refused(spec):
    with pytest.raises(ValueError, match=r"a method is written name or name\(option=value\)"):
        memcom.parse_spec(spec)


def test_a_list_or_an_array_of_ids_is_named():
    for ids in ([1, 2], np.array([1, 2]), 3, "x"):
        with pytest.raises(TypeError, match=f"ids .*{type(ids).__name__}"):
            LAYER(ids)


@pytest.mark.parametrize("spec", ["memcom", "qr(operation=add)", "hash(head=20)"])
def test_a_state_of_another_size_is_refused_in_words(spec):
    model = torch.nn.Sequential(make(spec).resize_num_embeddings(700))
    state = {f"0.{name}": tensor for name, tensor in make(spec).state_dict().items()}
    if spec == "hash(head=20)":
        state["0.private"] = state["0.private"][:7]
    with pytest.raises(RuntimeError, match=r"other sizes .*resize_num_embeddings") as caught:
        model.load_state_dict(state)
    assert "700" in str(caught.value)


# --- every public function of every room ----------------------------------------------------------

BIG = {
    "count",
    "num_embeddings",
    "num_buckets",
    "draws",
    "width",
    "widths",
    "num_items",
    "num_keys",
}
BIG |= {"num_codes", "batch_size", "repeats", "most_rounds", "least_rounds", "warm_up", "num_rows"}
MODULES = [torch.nn.Linear(2, 2), torch.nn.Embedding(5, 2), torch.zeros(0), np.array(["a"])]
DATA = load_data("synthetic", num_users=20, num_items=30)
RANKER = tasks.HistoryRanker(memcom.FullEmbedding(30, 4))
HELD_OUT = tasks.HeldOut.of(DATA, "valid")
HISTORIES = tasks.Histories.of(DATA, "train")
KNOWN = memcom.embeddings.Occurrences(torch.arange(9) % 5, torch.arange(9), 5)
IDS, TABLE = torch.arange(5), torch.randn(N, 3)
SCORES, RELEVANT = torch.randn(4, 6), torch.eye(4, 6)
LABEL = torch.tensor([0, 1, 1, 0])
ROWS = [
    {"method": m, "ratio": 4.0, "nbytes": 9, "loss": v, "value": v, "metric": "auc"}
    for m, v in (("qr", 0.1), ("memcom", 0.2))
]
TABLES = {"a": ROWS}
FULL = torch.nn.Embedding(N, E)
LOSS = {"model": RANKER, "given": HISTORIES, "held_out": HISTORIES}
WELL = {
    "memcom.available": {},
    "memcom.get": {"name": "qr"},
    "memcom.parse_spec": {"spec": "qr"},
    "memcom.build": {"name": "qr", "num_embeddings": N, "embedding_dim": E, "ratio": 4},
    "memcom.plan": {"name": "qr", "num_embeddings": N, "embedding_dim": E, "ratio": 4},
    "memcom.plan_tables": {
        "name": "qr",
        "cardinalities": {"a": 900},
        "embedding_dim": E,
        "ratio": 4,
    },
    "memcom.quantize": {"emb": LAYER},
    "memcom.multi_embedding": {
        "num_sets": 2,
        "make_embedding": lambda: memcom.build("qr", N, E, ratio=4),
        "make_interaction": torch.nn.Identity,
    },
    "memcom.audit": {"emb": LAYER},
    "memcom.compress": {"model": TABLE, "ratio": 2, "method": "qr"},
    "memcom.replace": {"model": torch.nn.Sequential(FULL), "spec": "qr", "ratio": 2, "min_rows": 9},
    "memcom.learn_map": {"pre_embedding": TABLE, "counts": torch.arange(N), "num_buckets": 7},
    "memcom.minhash_signatures": {"ids": IDS, "users": IDS, "num_embeddings": 5},
    "memcom.register": {"name": "qr"},
    "memcom.collisions.birthday_pairs": {"n": 5, "levels": 9},
    "memcom.collisions.codes": {"emb": LAYER},
    "memcom.collisions.distinct_codes": {"num_rows": 5, "reads": 2, "ordered": True},
    "memcom.collisions.equal_vectors": {"emb": LAYER},
    "memcom.collisions.expected_collisions": {"num_embeddings": 5, "num_codes": 9},
    "memcom.collisions.multiplier_gaps": {"emb": LAYER},
    "memcom.collisions.near_vectors": {"emb": LAYER, "eps": 0.1},
    "memcom.collisions.neighbours": {"emb": LAYER, "id": 2},
    "memcom.collisions.report": {"emb": LAYER},
    "memcom.collisions.round_rows": {"rows": TABLE, "rounding": "int8"},
    "memcom.collisions.sharing_groups": {"emb": LAYER},
    "memcom.profiling.allocated": {"function": list},
    "memcom.profiling.count_lines": {"rows": IDS, "width": 8},
    "memcom.profiling.draw_ids": {"popularity": "zipf", "num_embeddings": 9, "count": 5},
    "memcom.profiling.interleave": {
        "candidates": {"a": id},
        "batches": [[1]],
        "most_rounds": 9,
        "seconds": 1.0,
    },
    "memcom.profiling.lookup_traffic": {"emb": LAYER, "ids": IDS},
    "memcom.profiling.median_interval": {"values": list(range(9))},
    "memcom.profiling.nbytes_by_tensor": {"emb": LAYER},
    "memcom.profiling.peak_rss_bytes": {},
    "memcom.profiling.time_lookup": {"emb": LAYER, "baseline": FULL, "repeats": 20},
    "memcom.profiling.training_memory": {"emb": LAYER},
    "memcom.embeddings.attach": {"model": LAYER, "num_steps": 9},
    "memcom.embeddings.follow": {"model": LAYER, "num_steps": 9},
    "memcom.embeddings.schedule_for": {"emb": LAYER, "num_steps": 9},
    "memcom.embeddings.notes_on": {"methods": ["qr"]},
    "memcom.embeddings.learned_options": {"name": "lma", "known": KNOWN},
    "memcom.embeddings.prepare": {"emb": LAYER, "known": KNOWN, "pretrain": len},
    "memcom.export.load": {"path": "nowhere.safetensors"},
    "memcom.kernels.explain": {"layer": LAYER},
    "memcom.kernels.topk": {"queries": TABLE[:4], "items": TABLE, "k": 3},
    "memcom.kernels.warm_up": {},
    "memcom.kernels.plain": {},
    "memcom.data.describe": {"name": "movielens"},
    "memcom.data.load": {"name": "movielens"},
    "memcom.data.names": {},
    "memcom.plots.bytes_by_method": {"methods": {"qr": 9}},
    "memcom.plots.describe_standing": {"tables": TABLES, "data": "a"},
    "memcom.plots.method_style": {"name": "qr"},
    "memcom.plots.standing": {"tables": TABLES, "data": "a"},
    "memcom.plots.loss_against": {"rows": ROWS, "column": "nbytes", "label": "bytes"},
    "memcom.plots.theme": {},
    "memcom.sweep.bootstrap": {"values": {"a": np.ones((2, 5))}, "draws": 9},
    "memcom.sweep.holm": {"p_values": [0.1, 0.2]},
    "memcom.sweep.mean_interval": {"values": [1, 2, 3]},
    "memcom.sweep.p_value": {"interval": Interval(0.1, 0.05, 0.15)},
    "memcom.sweep.parallel_trials": {},
    "memcom.sweep.spec_of": {"path": None},
    "memcom.tasks.accuracy": {"scores": SCORES, "label": LABEL},
    "memcom.tasks.auc": {"scores": SCORES[:, 0], "label": LABEL},
    "memcom.tasks.dense_layers": {"width": 3, "widths": [4, 5]},
    "memcom.tasks.evaluate": {"model": RANKER, "held_out": HELD_OUT},
    "memcom.tasks.fit": {"model": RANKER, "data": DATA, "epochs": 1},
    "memcom.tasks.get_task": {"name": "ranking"},
    "memcom.tasks.log_loss": {"logits": SCORES, "label": LABEL},
    "memcom.tasks.ndcg_and_recall_at_k": {"scores": SCORES, "relevant": RELEVANT},
    "memcom.tasks.ndcg_at_k": {"scores": SCORES, "relevant": RELEVANT},
    "memcom.tasks.recall_at_k": {"scores": SCORES, "relevant": RELEVANT},
    "memcom.tasks.pairwise_loss": {**LOSS, "samples": IDS},
    "memcom.tasks.softmax_loss": LOSS,
    "memcom.tasks.sampled_softmax_loss": {**LOSS, "samples": IDS, "log_q": torch.zeros(30)},
    "memcom.tasks.ranknet_loss": {"difference": SCORES},
    "memcom.tasks.task_names": {},
    "memcom.recommend": {"num_embeddings": 9000, "embedding_dim": 64, "ratio": 16},
    "memcom.addresses.binary_code_digits": {"code_bits": 9, "block_bits": 4},
    "memcom.addresses.require_tensor": {"ids": IDS},
    "memcom.export.save": {"embedding": LAYER, "path": "layer.safetensors"},
    "memcom.export.open": {"path": "nowhere.safetensors"},
    "memcom.tasks.load_model": {"path": "nowhere.safetensors"},
    "memcom.optim.LazyAdam": {"params": [torch.zeros(2)]},
    "memcom.optim.RowwiseAdagrad": {"params": [torch.zeros(2)]},
    "memcom.optim.SGD": {"params": [torch.zeros(2)]},
    "memcom.tasks.TrainingOptions": {},
    "memcom.tasks.PairwiseOptions": {},
    "memcom.tasks.SupervisedOptions": {},
    "memcom.tasks.StreamOptions": {},
}
# Not drawn from: what reads or writes files, starts processes or trains for long has tests of its
# own arguments; layers, which check what they take, call the functions of `kernels` and those of
# `addresses` that belong to a lookup.
ELSEWHERE = {
    "addresses": "check_ids is_traced lacks_values mixed_radix_digits murmur3 strided_bits",
    "export": "to_onnx write_card",
    "profiling": "resident",
    "data": "fetch",
    "plots": "cost_against_growth loss_by_data quality_against_bytes quality_against_ratio "
    "show speed_against_table to_html to_png",
    "": "advise",
    "compression": "register_with_transformers",
    "advice": "leave_one_out",
    "sweep": "dry_run outline read_pairs read_rows read_trials run summarise sweep tables "
    "terminal_section write_report",
    "tasks": "example_inputs export_file fit_supervised predict run_stream save_model",
    "kernels": "all_rows apply_step choose chosen_codes chosen_codewords class_product computed "
    "dedup defer_gradients deferred_lookup fused_bag fused_step gather_rows hash_numbers lookup "
    "mish plain_lookup tensor_train",
}
PUBLIC = [
    "memcom",
    *(f"memcom.{r}" for r in "advice collisions compression data embeddings kernels plots".split()),
]
PUBLIC += [f"memcom.{r}" for r in "addresses export optim profiling sweep tasks".split()]


def public_functions():
    """Functions of the rooms, each once, by the shortest name."""
    found = {}
    for room in PUBLIC:
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", dir(module)):
            function = None if name.startswith("_") else getattr(module, name)
            place = getattr(function, "__module__", "")
            ours = place.startswith("memcom.") if hasattr(module, "__path__") else place == room
            if inspect.isfunction(function) and ours:
                found.setdefault(function, f"{room}.{name}")
    return set(found.values())


def test_every_public_function_is_drawn_from():
    elsewhere = {
        f"memcom.{room}.{name}".replace("..", ".")
        for room, all_ in ELSEWHERE.items()
        for name in all_.split()
    }
    drawn = {path for path in WELL if not path.endswith("Options")}
    assert public_functions() <= drawn | elsewhere
    assert not drawn & elsewhere


def refused_in_words(call):
    """Any error is raised by a statement of memcom, not by what it calls or computes."""
    refused = None
    try:
        call()
    except (ValueError, TypeError, IndexError, OSError) as error:
        refused = error
    if refused is None or isinstance(refused, OSError):  # of a file that it names
        return
    frame = traceback.extract_tb(refused.__traceback__)[-1]
    assert frame.filename.startswith(OURS[0]), f"{frame.filename}:{frame.lineno}: {refused!r}"
    assert frame.line.startswith("raise"), f"{frame.filename}:{frame.lineno}: {refused!r}"
    assert str(refused)


@pytest.mark.parametrize("path", WELL)
def test_arguments_of_public_functions(path, tmp_path, monkeypatch):
    """Each parameter of each function takes a third of the hostile values, or refuses in words."""
    monkeypatch.chdir(tmp_path)
    room, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(room), name)
    if name not in ("describe", "load", "load_model", "open"):
        function(**WELL[path])
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for value in [*HOSTILE[place % 3 :: 3], *MODULES]:
            if isinstance(value, int) and 1000 < value < 2**40 and parameter.name in BIG:
                continue  # work of that size
            if callable(value) and "Callable" in str(parameter.annotation):
                continue  # what a caller's function raises is the caller's
            if parameter.name == "params":
                continue  # parameters of an optimizer are torch's to check
            given = {**WELL[path], parameter.name: value}
            refused_in_words(lambda given=given: function(**given))


@pytest.mark.parametrize(
    ("arguments", "named"), [({"code": 10**6}, "code .*1000000"), ({"timeout_s": -1}, "timeout_s")]
)
def test_measured_code_is_text(arguments, named):
    with pytest.raises((TypeError, ValueError), match=named):
        memcom.profiling.resident(**{"code": "", **arguments})


def linear(a: Sequence[float], b: Tensor | None = None, *, c: bool = False, d: Path | str = ""):
    return a, b, c, d


def test_what_stands_for_an_argument_is_taken():
    """Scalars and arrays of NumPy, tensors of one number, iterables, paths and subclasses."""
    taken = checked(linear)
    zero = torch.tensor(0.5)
    assert taken([np.float32(0.5), 2, zero]) == ([0.5, 2, 0.5], None, False, "")
    assert taken(np.array([0.5, 2]))[0] == [0.5, 2.0]
    assert taken(x / 2 for x in range(3))[0] == [0.0, 0.5, 1.0]
    assert taken((1, float("inf")))[0] == (1, float("inf"))
    assert taken([], torch.nn.Parameter(zero), c=np.True_, d=Path("x"))[2:] == (True, Path("x"))
    with pytest.raises(TypeError, match=r"linear\(\) missing 1 required positional argument: 'a'"):
        taken()
    with pytest.raises(TypeError, match="takes from 1 to 2 positional arguments but 3 were given"):
        taken([], None, True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'e'"):
        taken([], e=1)


def test_numbers_of_statistics_are_any_that_numpy_reads():
    values = torch.tensor([0.25, 0.5], dtype=torch.float64)
    for same in (values, {"a": 0.25, "b": 0.5}.values()):
        assert memcom.sweep.holm(same) == [0.5, 0.5]
    assert np.isnan(memcom.sweep.holm([float("nan"), 0.02])[0])
    assert memcom.sweep.mean_interval([Fraction(1, 2), Decimal("0.5"), 2**70 / 2**71])[0] == 0.5
    relevant = [torch.tensor([0, 1]), torch.tensor([2])]
    assert tasks.recall_at_k(torch.arange(3.0)[None], relevant, np.int64(1)).tolist() == [1.0]
    found = memcom.profiling.interleave(
        {"a": id}, np.zeros((2, 3)), seconds=float("inf"), most_rounds=7
    )
    assert found["a"].rounds == 7
    audited = memcom.audit(LAYER, eps=np.array([1e-3]))
    assert str(audited) == str(memcom.audit(LAYER, eps=(1e-3,)))


@pytest.mark.parametrize(
    ("place", "value", "named"), [(0, "x", "module"), (1, [1], "example"), (2, 3, "path")]
)
def test_an_export_refuses_what_is_no_module(place, value, named):
    arguments = [LAYER, IDS, "layer.onnx"]
    arguments[place] = value
    with pytest.raises(TypeError, match=f"{named} must be"):
        memcom.export.to_onnx(*arguments)


def test_options_of_tasks_name_the_field():
    two = torch.tensor([1, 2])
    for options in (tasks.TrainingOptions, tasks.StreamOptions, tasks.SupervisedOptions):
        for field in inspect.signature(options).parameters:
            with pytest.raises(TypeError, match=f"{field} must be"):
                options(**{field: two})
    assert tasks.TrainingOptions(epochs=np.int64(3)) == tasks.TrainingOptions(epochs=3)
