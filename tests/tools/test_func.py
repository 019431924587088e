"""`torch.func`: vmap, per-sample gradients, Jacobians, calls with other parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call, grad, jacrev, jvp, vmap

import memcom
from tests.embeddings.cases import NUM_EMBEDDINGS, make, some_ids
from tests.tools.reference import every_layer, full_table, gradients, trained

close = torch.testing.assert_close


@every_layer
def test_vmap_over_ids_gives_the_rows_of_the_table(spec):
    layer, ids = make(spec, padding_idx=3), some_ids(6, 2)
    expected = full_table(layer)(ids)
    for batched in (vmap(layer), vmap(vmap(layer)), vmap(layer, in_dims=1, out_dims=1)):
        close(batched(ids), expected)
    close(vmap(layer)(ids.int()), expected)


@every_layer
def test_a_bad_id_under_vmap_is_named(spec):
    layer, ids = make(spec), some_ids(6, 2)
    for bad in (-1, NUM_EMBEDDINGS + 7):
        ids[2, 1] = bad
        with pytest.raises(IndexError, match=rf"{bad}\b.*\[0, {NUM_EMBEDDINGS}\)"):
            vmap(layer)(ids)


@every_layer
def test_gradients_of_every_sample_are_those_of_the_sample_alone(spec):
    layer, ids = make(spec, padding_idx=3), some_ids(4, 3)
    if not trained(layer):
        pytest.skip("trains nothing")

    def loss(parameters, sample):
        return functional_call(layer, parameters, (sample,)).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(trained(layer), ids)
    for k, sample in enumerate(ids):
        for name, expected in gradients(layer, sample).items():
            close(found[name][k], expected)


@every_layer
def test_forward_and_reverse_derivatives_agree(spec):
    layer, ids = make(spec), some_ids(3)
    if not trained(layer):
        pytest.skip("trains nothing")

    def squares(parameters):
        return functional_call(layer, parameters, (ids,)).square().sum(-1)

    jacobian = jacrev(squares)(trained(layer))
    for k in range(3):
        for name, expected in gradients(layer, ids[k]).items():
            close(jacobian[name][k], expected)
    tangents = {name: torch.ones_like(p) for name, p in trained(layer).items()}
    _, slope = jvp(squares, (trained(layer),), (tangents,))
    expected = sum(j.flatten(1).sum(1) for j in jacobian.values())
    close(slope, expected, rtol=1e-3, atol=1e-3)


@every_layer
def test_functional_call_reads_the_parameters_it_is_given_and_only_then(spec):
    layer, ids = make(spec), some_ids(600)
    before = full_table(layer)(ids)
    other = {name: p + 1 for name, p in trained(layer).items()}
    moved = copy.deepcopy(layer)
    moved.load_state_dict({**layer.state_dict(), **other})
    close(functional_call(layer, other, (ids,)), full_table(moved)(ids))
    close(layer(ids), before)


@given(
    st.sampled_from(["full", "memcom-bias", "qr", "bloom", "tt", "cce", "qr(head=30)"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.data(),
)
def test_vmap_over_any_dimension_of_any_shape(spec, shape, data):
    shape = [size + 1 for size in shape]
    layer, ids = make(spec), some_ids(*shape)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    expected = layer(ids).movedim(ids.movedim(dim, 0).ndim - len(shape) + dim % len(shape), 0)
    close(vmap(layer, in_dims=dim)(ids), expected)


def test_an_ensemble_of_tables_is_one_vmap():
    layers = [make("memcom", seed=seed) for seed in range(3)]
    stacked = {name: torch.stack([trained(e)[name] for e in layers]) for name in trained(layers[0])}
    ids = some_ids(6, 2)
    vectors = vmap(lambda p: functional_call(layers[0], p, (ids,)))(stacked)
    close(vectors, torch.stack([full_table(layer)(ids) for layer in layers]))


def test_vmap_through_a_bag():
    layer, ids = make("memcom"), some_ids(6, 2)
    expected = full_table(layer)(ids).sum(-2)
    close(vmap(lambda row: memcom.EmbeddingBag(layer, "sum")(row[None])[0])(ids), expected)
