"""Graphs and shapes: FakeTensorMode, make_fx, symbolic_trace; compile and export are contract."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.func import functional_call, grad
from torch.fx.experimental.proxy_tensor import make_fx

from memcom.embeddings.quantized import quantize
from tests.embeddings.cases import EMBEDDING_DIM, NUM_EMBEDDINGS, make, planned, some_ids
from tests.tools.reference import every_layer, full_table, gradients, trained

close = torch.testing.assert_close


@every_layer
def test_a_fake_layer_has_shapes_and_gradients_without_memory(spec):
    layer = make(spec, padding_idx=3)
    shapes = {name: stored.shape for name, stored in layer.state_dict().items()}
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        copied = copy.deepcopy(layer)
    with mode:
        built = planned(spec, NUM_EMBEDDINGS, EMBEDDING_DIM, 4, None).build(padding_idx=3)
        for fake in (copied, built):
            vectors = fake(torch.zeros(5, 2, dtype=torch.int32))
            assert vectors.shape == (5, 2, EMBEDDING_DIM)
            assert vectors.device.type == "cpu"
            if vectors.requires_grad:
                vectors.sum().backward()
            assert {name: stored.shape for name, stored in fake.state_dict().items()} == shapes


@every_layer
def test_a_traced_graph_serves_other_ids_and_checks_them(spec):
    layer = make(spec, padding_idx=3)
    table = full_table(layer)
    for mode in ("real", "fake", "symbolic"):
        graph = make_fx(layer, tracing_mode=mode, _allow_non_fake_inputs=True)(some_ids(6, 2))
        other = some_ids(9, 2) if mode == "symbolic" else some_ids(6, 2).flip(0)
        close(graph(other), table(other))
        other[2, 1] = NUM_EMBEDDINGS
        with pytest.raises(IndexError, match=rf"{NUM_EMBEDDINGS} .*\[0, {NUM_EMBEDDINGS}\)"):
            graph(other)


@every_layer
def test_a_traced_gradient_serves_other_ids(spec):
    layer, ids = make(spec, padding_idx=3), some_ids(8, 2)
    if not trained(layer):
        pytest.skip("trains nothing")

    def loss(parameters, ids):
        return functional_call(layer, parameters, (ids,)).square().sum()

    trace = make_fx(grad(loss), tracing_mode="symbolic", _allow_non_fake_inputs=True)
    found = trace(trained(layer), some_ids(6, 2))(trained(layer), ids)
    for name, expected in gradients(layer, ids).items():
        close(found[name], expected)


@every_layer
def test_symbolic_trace_calls_the_layer_whole_as_it_does_nn_embedding(spec):
    layer, ids = make(spec, padding_idx=3), some_ids(6, 2)
    head = nn.Linear(EMBEDDING_DIM, 2)
    graph = torch.fx.symbolic_trace(nn.Sequential(layer, head))
    close(graph(ids), head(full_table(layer)(ids)))
    assert [node.op for node in graph.graph.nodes].count("call_module") == 2
    alone = torch.fx.symbolic_trace(layer)
    alone.graph.lint()
    close(alone(ids), full_table(layer)(ids))
    with pytest.raises(IndexError, match=str(NUM_EMBEDDINGS)):
        alone(ids + NUM_EMBEDDINGS)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_table_is_traced_too(bits):
    layer, ids = quantize(make("memcom"), bits), some_ids(6, 2)
    expected = full_table(layer)(ids)
    close(torch.func.vmap(layer)(ids), expected)
    close(make_fx(layer, tracing_mode="symbolic", _allow_non_fake_inputs=True)(ids)(ids), expected)
    close(torch.fx.symbolic_trace(layer)(ids), expected)
