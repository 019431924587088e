"""Lookups written in C++ give the vectors of the layers whose bound they are."""

from __future__ import annotations

import csv
import shutil

import pytest
import torch
from torch import nn

pytest.importorskip("numba")
from benchmarks import bounds
from benchmarks.bounds import measure, probes
from memcom.budget import build
from memcom.embeddings import CodebookEmbedding
from memcom.embeddings.csr import CSREmbedding
from memcom.embeddings.jagged import JaggedEmbedding

N = 501  # not a multiple of the ids of a block

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.fixture(scope="module")
def library():
    return bounds.compile_probes()


def _codebook(groups, tiers):
    layer = CodebookEmbedding(N, 64, num_groups=groups, tiers=tiers)
    layer.reset_parameters()
    return layer


def _sparse(chunk_dim):
    """Rows of 0 to 7 chunks, in any order but the last two, which are empty and full."""
    of_row = 64 // chunk_dim
    kept = torch.rand(N, of_row).argsort(1) < torch.randint(8, (N, 1))
    kept[-2:] = torch.tensor([[False], [True]])
    return CSREmbedding.from_chunks(torch.randn(int(kept.sum()), chunk_dim), kept, 64)


def _jagged():
    sizes = torch.randint(65, (N,))
    sizes[-3:] = torch.tensor([64, 0, 5])
    return JaggedEmbedding.from_table(torch.randn(N, 64), sizes)


def _moved(layer):
    """Multipliers start at one."""
    nn.init.normal_(layer.multiplier)
    return layer


LAYERS = {
    "full": lambda: nn.Embedding(N, 64),
    "memcom": lambda: _moved(build("memcom", N, 64, num_buckets=37)),
    "qr": lambda: build("qr", N, 64, num_collisions=14),
    "bloom": lambda: build("bloom", N, 64, num_buckets=37),
    "robe": lambda: build("robe", N, 64, memory_size=101),  # many runs go round its end
    "cce": lambda: build("cce", N, 64, num_buckets=13),
    "dpq": lambda: _codebook(16, [(N, 128)]),
    "mgqe": lambda: _codebook(32, [(50, 32), (N - 50, 8)]),
    "lma": lambda: build("lma", N, 64, memory_size=203),
    "jagged": _jagged,
    "csr": lambda: _sparse(1),
    "fiited": lambda: _sparse(4),
    "mixed-dim": lambda: build("mixed-dim", N, 64, base_dim=22),
    "path": lambda: build("path", N, 64, radices=[40, 13]),
    "tt": lambda: build("tt", N, 64, rank=5),
}


def test_each_method_of_the_table_is_tried():
    assert set(LAYERS) == {"full", *bounds.METHODS}


@needs_compiler
@pytest.mark.parametrize("method", LAYERS)
def test_a_probe_gives_the_vectors_of_its_layer(library, method):
    layer = LAYERS[method]().eval()
    probe = bounds.Probe(library, layer, method)
    for ids in (torch.arange(N), torch.randint(N, (1000,)), torch.tensor([N - 1])):
        measure.same_vectors(layer, probe, ids)
    with pytest.raises(AssertionError):
        measure.same_vectors(lambda ids: layer(ids.flip(0)), probe, torch.arange(N))


@needs_compiler
def test_a_probe_refuses_other_sizes(library):
    with pytest.raises(ValueError, match="4 hashes"):
        bounds.Probe(library, build("bloom", N, 64, num_buckets=37, num_hashes=2), "bloom")


def test_pieces_at_random_places_lie_in_more_lines():
    assert probes.Access(1, 256, 64).lines == 4
    assert probes.Access(2, 16, 16).lines == 2
    runs = [(start + 32 - 1) // 64 - start // 64 + 1 for start in range(0, 64, 4)]
    assert probes.Access(1, 32, 4).lines == sum(runs) / len(runs)


@needs_compiler
def test_a_row_holds_what_the_table_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "IDS", 5000)
    monkeypatch.setattr(measure, "BATCHES", (500,))
    lines = []
    bounds.command(tmp_path / "bounds.csv", ["bloom"], threads=1, seconds=0.01, log=lines.append)
    assert "bloom" in lines[1]
    assert "ours / probe" in lines[0]
    with (tmp_path / "bounds.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["method"], float(row["lines_per_id"])) == ("bloom", 16)
    assert float(row["ours_to_probe"]) == float(row["ours_ratio"]) / float(row["probe_ratio"])


def test_the_table_says_what_bounds_a_layer():
    times = {"ours_seconds": 3e-5, "probe_seconds": 2e-5, "gather_ratio": 0.5}
    row = {"batch": 1000, "bytes_per_id": 256.0, "lines_per_id": 4.0, **times}
    ratios = {"ours_ratio": 1.2, "probe_ratio": 0.8, "ours_to_probe": 1.5}
    slow, near = {"method": "bloom", **row, **ratios}, {"method": "tt", **row, **ratios}
    lines = bounds.bounds_table([slow, {**near, "ours_to_probe": 1.15}]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    numbers = ["1,000", "1.20", "0.80", "0.50", "1.50", "30.0", "20.0", "256", "4.0"]
    assert cells[2] == ["bloom", *numbers, "our code"]
    assert (cells[3][0], cells[3][-1]) == ("tt", "the machine")


def test_without_a_compiler_the_message_names_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(bounds.NoCompiler, match="g\\+\\+"):
        bounds.compile_probes()
