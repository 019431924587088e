from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import memcom
from memcom.collisions import round_rows
from memcom.collisions.distinct import uniqueness
from memcom.embeddings import DISTINCT
from tests.embeddings.cases import SPECS, UNSHRUNK

N, E = 501, 16


def make(spec: str) -> memcom.CompressedEmbedding:
    name, options = memcom.parse_spec(spec)
    torch.manual_seed(0)
    return memcom.build(name, N, E, ratio=None if name in UNSHRUNK else 4, **options).eval()


def crowded() -> memcom.FullEmbedding:
    """A table with equal, nearly equal and barely different rows."""
    torch.manual_seed(0)
    emb = memcom.FullEmbedding(400, 4)
    with torch.no_grad():
        emb.table[100:150] = emb.table[:50]
        emb.table[150:160] = emb.table[0]
        emb.table[200:250] = emb.table[250:300] * (1 + 1e-4)
        emb.table[300:310] = 0
        emb.table[350:380] = emb.table[320:350] + 1e-8
    return emb


@pytest.mark.parametrize("max_ids", [10**6, 90, 7])
def test_counts_by_brute_force_whatever_the_memory(max_ids):
    emb = crowded()
    table = emb.materialize()
    length = float(table.double().square().sum(1).mean().sqrt())
    found = memcom.audit(emb, eps=(1e-6, 1e-3, 0.05), roundings=("fp16", "int8"), max_ids=max_ids)
    assert [shared.rounding for shared in found.exact] == ["none", "fp16", "int8"]
    for shared in found.exact:
        rows = round_rows(table, shared.rounding).numpy() + 0.0
        _, sizes = np.unique(rows, axis=0, return_counts=True)
        assert shared.num_ids == sizes[sizes > 1].sum()
        assert shared.num_distinct == len(sizes)
        assert shared.largest == sizes.max() == 12
    apart = cdist(table.double(), table.double())
    np.fill_diagonal(apart, np.inf)
    for near in found.near:
        assert near.distance == pytest.approx(near.eps * length)
        assert near.num_ids == (apart.min(1) <= near.distance).sum()
    assert not found.unique
    assert found.near[1].num_ids > found.exact[0].num_ids


def test_too_many_neighbours_are_said_to_be_too_many(monkeypatch):
    from memcom import audit as function

    module = __import__("sys").modules[function.__module__]
    real = module.near_vectors
    monkeypatch.setattr(
        module, "near_vectors", lambda *a, **k: real(*a, **{**k, "max_candidates": 10})
    )
    found = memcom.audit(crowded(), eps=(0.5,))
    assert found.near[0].num_ids is None
    assert "too many to list" in str(found)


def test_the_report_reads():
    text = str(memcom.audit(make("hash")))
    assert text.startswith("HashingTrickEmbedding: 125 different vectors of 501 ids")
    assert "share a vector exactly" in text
    assert "never: 501 ids share 125 rows" in text


@pytest.mark.parametrize("spec", SPECS)
def test_statements_hold(spec):
    emb = make(spec)
    with torch.no_grad():  # away from the special tables that layers start from
        for p in emb.parameters():
            if not spec.startswith("pep"):
                p.add_(0.1 * torch.randn_like(p))
    statement = uniqueness(emb)
    found = memcom.audit(emb, eps=(), roundings=())
    assert statement.because
    if statement.distinct in ("always", "generic", "if weights differ"):
        assert found.unique
    elif statement.distinct == "never":
        assert not found.unique
    else:
        assert statement.distinct in DISTINCT


@pytest.mark.parametrize(
    ("spec", "ratio", "word"),
    [
        ("hash(seed=None)", 1, "always"),
        ("hash(num_buckets=501)", None, "by chance"),
        ("truncate", 1, "always"),
        ("bloom(num_hashes=1)", 4, "never"),
        ("hash-embedding(num_weights=500)", 4, "by chance"),
        ("qr(operation=concat)", 4, "always"),
        ("qr(operation=add)", 4, "generic"),
        ("bch(hash=7)", 4, "generic"),
        ("bch(shared=True)", 4, "never"),
        ("bch(shared=True,hash=7)", 4, "by chance"),
        ("bch(shared=True,fusion=concat)", 4, "always"),
        ("bch(shared=True)", 1, "always"),
        ("memcom(bits=8)", 4, "lossy"),
        ("scalar-qr", 4, "if weights differ"),
        ("k-memcom", 4, "if weights differ"),
        ("int8", None, "lossy"),
        ("dpq(num_groups=2,num_codewords=16)", None, "never"),
        ("cce(bits=8)", 4, "by chance"),
    ],
)
def test_the_options_of_a_layer_decide(spec, ratio, word):
    name, options = memcom.parse_spec(spec)
    assert uniqueness(memcom.build(name, N, E, ratio=ratio, **options)).distinct == word


def test_a_packed_layer_may_round_rows_alike():
    layer = memcom.FullEmbedding(N, E)
    assert uniqueness(layer).distinct == "always"
    assert uniqueness(memcom.quantize(layer, 8)).distinct == "lossy"


def test_memcom_is_unique_exactly_if_multipliers_of_a_bucket_differ():
    emb = memcom.MEmComEmbedding(100, 8, num_buckets=10)
    assert not memcom.audit(emb).unique  # it starts as plain hashing
    with torch.no_grad():
        emb.multiplier.normal_()
    assert memcom.audit(emb).unique
    with torch.no_grad():
        emb.multiplier[73] = emb.multiplier[3]
    assert memcom.audit(emb).exact[0].num_ids == 2
    with torch.no_grad():
        emb.table[4] = 0
    assert memcom.audit(emb).exact[0].num_ids == 12


def test_the_counter_example_of_shared_binary_codes():
    emb = memcom.build("bch", N, E, ratio=4, shared=True)
    digits = emb.addresses(torch.arange(N))
    (rows,) = digits.values()
    _, group = rows.unique(dim=0, return_inverse=True)
    repeated = int((group.bincount()[group] > 1).sum())
    assert repeated > 0
    assert memcom.audit(emb).exact[0].num_ids == repeated
    assert uniqueness(emb).distinct == "never"


def test_a_head_and_a_stored_map_pass_statements_on():
    head = memcom.build("hash", N, E, ratio=4, head=20)
    assert uniqueness(head).distinct == "never"
    assert "first 20 ids" in uniqueness(head).because
    mapped = memcom.MappedEmbedding(memcom.FullEmbedding(10, 4), torch.arange(30) % 10)
    assert uniqueness(mapped).distinct == "never"
    assert memcom.audit(mapped).exact[0].num_distinct == 10
    assert uniqueness(torch.nn.Linear(2, 2)).distinct == "unknown"


@pytest.mark.parametrize("options", [{"eps": (0.0,)}, {"eps": (-1,)}, {"max_ids": 0}])
def test_senseless_options_are_refused(options):
    with pytest.raises(ValueError, match=r"max_ids must be >= 1|every eps must be > 0"):
        memcom.audit(crowded(), **options)
