"""A layer's program is kept until a tensor of the layer changes or moves."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from memcom import kernels
from memcom.kernels import backend
from memcom.kernels.cached import cached_program
from memcom.kernels.program import GpuProgram
from tests.embeddings.cases import make, some_ids

needs_numba = pytest.mark.skipif(not backend.HAVE_NUMBA, reason="numba is not installed")


@pytest.fixture(autouse=True, scope="module")
def loaded():
    kernels.warm_up()


def test_a_layer_keeps_its_program_as_long_as_it_stays_where_it_is():
    layer = make("memcom", device="meta")
    before = cached_program(layer, layer.device)
    assert isinstance(before.program, GpuProgram)
    assert cached_program(layer, layer.device) is before
    on_cpu = cached_program(layer)
    assert on_cpu.program is None
    assert "meta" in on_cpu.unsupported
    layer.multiplier = torch.nn.Parameter(layer.multiplier.detach())
    assert cached_program(layer, layer.device).program is not before.program


@needs_numba
def test_a_changed_layer_is_compiled_anew():
    layer = make("memcom")
    ids = some_ids(20)
    first = layer(ids)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    layer.multiplier = torch.nn.Parameter(layer.multiplier.detach() * 2)
    torch.testing.assert_close(layer(ids), 2 * first)
    layer.table.data = layer.table.data * 2
    torch.testing.assert_close(layer(ids), 4 * first)
    with torch.no_grad():
        layer.table.mul_(2)
    torch.testing.assert_close(layer(ids), 8 * first)
    for other in copies:
        torch.testing.assert_close(other(ids), first)
    layer.padding_idx = int(ids[3])
    assert not layer(ids)[3].any()
    layer.sparse = True
    layer(ids).sum().backward()
    assert layer.table.grad.is_sparse
    assert kernels.explain(layer, ids).name == "compiled"


@needs_numba
def test_a_table_that_the_layer_does_not_hold_is_compiled_for_each_call():
    layer, ids = make("hash"), some_ids(20)
    table = layer.table
    torch.nn.utils.parametrize.register_parametrization(layer, "table", torch.nn.Softplus())
    for _ in range(2):
        assert kernels.explain(layer, ids).name == "compiled"
        rows = torch.nn.functional.softplus(table)
        torch.testing.assert_close(layer(ids), rows[layer.addresses(ids)["table"]])
        with torch.no_grad():
            table.add_(1)
