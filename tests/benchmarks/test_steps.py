"""Bounds of training steps change what the formula changes, and multiply what a step multiplies."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
from benchmarks import bounds
from benchmarks.bounds import measure, steps
from memcom.budget import build

N, RATE = 501, 1e-3

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.fixture(scope="module")
def library():
    return bounds.compile_probes()


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize("buckets", [1, 37, 3000])
@pytest.mark.parametrize(("count", "by_torch"), [(1, False), (1000, False), (900, True)])
def test_memcom_takes_its_step(library, buckets, count, by_torch):
    layer = build("memcom", 5000, 64, num_buckets=buckets)
    ids, upstream = torch.randint(5000, (count,)), torch.randn(1000, 64)
    table, multiplier = (p.detach().double().numpy() for p in (layer.table, layer.multiplier))
    rows, numbers, g = (ids % buckets).numpy(), ids.numpy(), upstream[:count].double().numpy()
    changed, scaled = table.copy(), multiplier.copy()
    np.subtract.at(changed, rows, RATE * multiplier[numbers] * g)
    dots = (table[rows] * g).sum(axis=1, keepdims=True)
    np.subtract.at(scaled, numbers, RATE * dots)
    vectors = steps.memcom_step(library, layer, upstream, by_torch=by_torch)(ids)
    np.testing.assert_allclose(vectors.numpy(), table[rows] * multiplier[numbers], rtol=1e-6)
    np.testing.assert_allclose(layer.table.detach().numpy(), changed, rtol=0, atol=1e-5)
    np.testing.assert_allclose(layer.multiplier.detach().numpy(), scaled, rtol=0, atol=1e-5)
    assert np.abs(changed - table).max() > 1e-4  # so that no step would be noticed
    assert np.abs(scaled - multiplier).max() > 1e-4


@needs_compiler
def test_lma_takes_its_step(library, one_thread):
    layer = build("lma", N, 64, memory_size=203)
    ids, upstream = torch.randperm(N)[:200], torch.randn(300, 64)
    cells, before = layer.cells(ids).numpy(), layer.memory.detach().double().numpy()[:, 0]
    changed = before.copy()
    np.subtract.at(changed, cells, RATE * upstream[:200].double().numpy())
    vectors = steps.lma_step(library, layer, upstream)(ids)
    np.testing.assert_array_equal(vectors.numpy(), before[cells].astype(np.float32))
    np.testing.assert_allclose(layer.memory.detach().numpy()[:, 0], changed, rtol=0, atol=1e-5)
    assert np.abs(changed - before).max() > 1e-3


def test_the_products_of_a_path_are_those_of_its_gradients():
    layer = build("path", N, 16, radices=[101, 5])
    torch.manual_seed(0)
    rows, upstream = torch.randn(2, 9, 16)
    torch.manual_seed(0)
    found = steps.path_products(layer, 9)(7)
    maps = layer.transforms[0].detach().view(5, 16, 16).requires_grad_()
    x = rows[:7].requires_grad_()
    classes = torch.tensor([0, 1, 2, 2, 3, 4, 4])  # 7 ids, as even as it goes
    vectors = torch.einsum("na,nab->nb", x, maps[classes])
    gradients = torch.autograd.grad(vectors, [x, maps], upstream[:7])
    torch.testing.assert_close(found, [vectors.detach(), *gradients])


def test_the_products_of_a_path_are_of_linear_maps():
    with pytest.raises(ValueError, match="one linear map"):
        steps.path_products(build("path", N, 16, radices=[101, 5], hidden_dim=3), 9)


@needs_compiler
@pytest.mark.parametrize("method", bounds.STEPS)
def test_each_step_and_its_bound_run(library, method):
    group, what = steps.step_group(library, method, 10**5, 64)
    ids = torch.randint(10**5, (64,))
    assert list(group) == [steps.BASELINE, steps.OURS, steps.BOUND]
    for call in group.values():
        call((ids, ids.unique()))
    assert ("C++" in what) == (method in (*steps.MEMCOM, "lma"))


@needs_compiler
def test_a_row_holds_what_the_table_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "IDS", 20000)
    monkeypatch.setattr(measure, "BATCH", 500)
    lines = []
    options = {"steps": True, "threads": 1, "seconds": 0.01, "log": lines.append}
    bounds.command(tmp_path / "steps.csv", ["lma"], **options)
    assert "lma" in lines[1]
    assert "ours / bound" in lines[0]
    with (tmp_path / "steps.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["method"], row["num_embeddings"], row["batch"]) == ("lma", "2000", "500")
    assert float(row["ours_to_bound"]) == float(row["ours_ratio"]) / float(row["bound_ratio"])


def test_the_table_says_what_a_bound_is():
    times = {"baseline_seconds": 4e-4, "ours_seconds": 1.2e-3, "bound_seconds": 1e-3}
    ratios = {"ours_ratio": 3.0, "bound_ratio": 2.5, "ours_to_bound": 1.2}
    row = {"method": "dpq", "bound": "matrix products", **times, **ratios}
    (_, _, line) = bounds.steps_table([row]).splitlines()
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["dpq", "3.00", "2.50", "1.20", "400", "1,200", "1,000", "matrix products"]
