"""`torch.optim.swa_utils.AveragedModel`: parameters are averaged, integers never."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

import memcom
from memcom.embeddings.quantized import quantize
from tests.embeddings.cases import make, some_ids
from tests.tools.reference import every_layer, full_table

WAYS = [
    {},
    {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
    {"avg_fn": get_ema_avg_fn(0.9)},
]


def after_two_updates(layer: nn.Module, way: dict, *, use_buffers: bool) -> nn.Module:
    average = AveragedModel(layer, use_buffers=use_buffers, **way)
    average.update_parameters(layer)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.arange(p.numel()).view_as(p) % 3)
    average.update_parameters(layer)
    return average


REFUSED = ("averaged", "two bool tensors")  # by the layer, and by torch for a mask


@every_layer
@pytest.mark.parametrize("use_buffers", [False, True])
def test_an_average_has_averaged_parameters_and_exact_integers_or_says_so(spec, use_buffers):
    for way in WAYS:
        layer, ids = make(spec), some_ids(30)
        before = {name: value.clone() for name, value in layer.state_dict().items()}
        integers = [v for v in before.values() if not v.is_floating_point()]
        if use_buffers and integers:
            with pytest.raises(RuntimeError, match="|".join(REFUSED)):
                after_two_updates(layer, way, use_buffers=True)(ids)
            continue
        average = after_two_updates(layer, way, use_buffers=use_buffers)
        weight = 0.1 if way else 0.5
        expected, parameters = copy.deepcopy(layer), dict(layer.named_parameters())
        state = layer.state_dict()
        for name, now in state.items():
            if now.is_floating_point() and (use_buffers or name in parameters):
                state[name] = (1 - weight) * before[name] + weight * now
        expected.load_state_dict(state)
        torch.testing.assert_close(average(ids), full_table(expected)(ids))
        for name, value in average.module.state_dict().items():
            assert value.is_floating_point() or torch.equal(value, state[name])


@pytest.mark.parametrize(
    "layer",
    [
        lambda: make("bloom"),
        lambda: make("cce"),
        lambda: make("dpq").freeze(),
        lambda: make("int4").freeze(),
        lambda: quantize(make("memcom"), 8),
        lambda: make("bloom(head=20,bits=8)"),
    ],
)
def test_averaged_integers_are_refused_wherever_they_are_used(layer):
    average = after_two_updates(layer(), WAYS[1], use_buffers=True).module
    for use in (
        lambda: average(some_ids(4)),
        lambda: copy.deepcopy(average)(some_ids(4)),
        lambda: memcom.EmbeddingBag(average)(some_ids(2, 300)),
        average.state_dict,
        average.double,
        average.materialize,
    ):
        with pytest.raises(RuntimeError, match=r"averaged.*use_buffers=False"):
            use()


def test_no_layer_is_refused_for_being_copied_moved_or_made_empty():
    layer, ids = make("bloom"), some_ids(5)
    expected = full_table(layer)(ids)
    for moved in (copy.deepcopy(layer), copy.copy(layer), copy.deepcopy(layer).double().float()):
        torch.testing.assert_close(moved(ids), expected)
    empty = copy.deepcopy(layer).to("meta").to_empty(device="cpu")
    empty.load_state_dict(layer.state_dict())
    torch.testing.assert_close(empty(ids), expected)
    assert "unaveraged" not in layer.state_dict()
