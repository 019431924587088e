from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom.embeddings.path import map_numbers

N, E = 120, 6
IDS = torch.arange(N)


def make(radices, hidden_dim=None, **common):
    torch.manual_seed(0)
    return memcom.PathEmbedding(N, E, radices=radices, hidden_dim=hidden_dim, **common)


def by_hand(layer, id):
    """One id, one class at a time, in float64."""
    state = {name: tensor.double().numpy() for name, tensor in layer.state_dict().items()}
    h = layer.hidden_dim
    rest, row = divmod(id, layer.radices[0])
    x = state["table"][row]
    for j, classes in enumerate(layer.radices[1:]):
        rest, c = divmod(rest, classes)
        numbers = state[f"transforms.{j}"][c]
        if h is None:
            x = x @ numbers.reshape(E, E)
            continue
        weight, bias, weight_out, bias_out = np.split(numbers, np.cumsum([E * h, h, h * E]))
        y = x @ weight.reshape(E, h) + bias
        x = np.where(y > 0, y, 0.01 * y) @ weight_out.reshape(h, E) + bias_out
    return x


@pytest.mark.parametrize("hidden_dim", [None, 1, 5])
@pytest.mark.parametrize("radices", [[40, 3], [120, 1], [13, 10], [10, 4, 3], [2, 5, 3, 4]])
def test_a_vector_is_a_row_sent_along_its_path(radices, hidden_dim):
    layer = make(radices, hidden_dim)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
    expected = np.stack([by_hand(layer, i) for i in range(N)])
    np.testing.assert_allclose(layer(IDS).detach(), expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40 - 1))
def test_addresses_are_digits_for_ids_up_to_2_to_the_40(id):
    radices = [2**15 + 3, 2**13, 2**12 + 1]
    layer = memcom.PathEmbedding(2**40, 1, radices=radices)
    row, first, second = (a.item() for a in layer.addresses(torch.tensor(id)).values())
    assert row + radices[0] * (first + radices[1] * second) == id
    assert (row < radices[0], first < radices[1], second < radices[2]) == (True,) * 3


def test_a_class_has_a_map_of_its_own():
    layer = make([40, 3], hidden_dim=4)
    before = layer(IDS).detach()
    with torch.no_grad():
        layer.transforms[0][1] += 0.5
    changed = (layer(IDS) != before).any(dim=-1)
    assert changed.tolist() == [40 <= i < 80 for i in range(N)]
    layer(IDS[:40]).square().sum().backward()
    touched = layer.transforms[0].grad.abs().sum(dim=-1) > 0
    assert touched.tolist() == [True, False, False]


@pytest.mark.parametrize("hidden_dim", [None, 1, 2])
def test_no_two_ids_are_equal_at_the_start(hidden_dim):
    # With a plain ReLU a hidden layer of width 1 is off for half of the ids: all equal.
    layer = make([40, 3], hidden_dim).double()
    assert len(layer(IDS).unique(dim=0)) == N


@pytest.mark.parametrize("std", [1.0, 0.1])
@pytest.mark.parametrize("hidden_dim", [None, 4, 32])
@pytest.mark.parametrize("radices", [[250, 4], [100, 4, 3]])
def test_maps_keep_the_variance(radices, hidden_dim, std):
    squares, means = [], []
    for seed in range(30):
        torch.manual_seed(seed)
        layer = memcom.PathEmbedding(1000, 16, radices=radices, hidden_dim=hidden_dim)
        layer.reset_parameters(std=std)
        vectors = layer.materialize() / std
        squares.append(vectors.square().mean().item())
        means.append(vectors.view(-1, 100, 16)[:2].mean(1).square().mean().item())
    assert np.mean(squares) == pytest.approx(1.0, rel=0.15)
    assert np.mean(means) < 0.15  # ids of a class do not share a large part


def test_a_map_has_as_many_numbers_as_the_paper_reports():
    # Hidden layers of 16, 32, 64, 128 on 16 dimensions differ there by 104 maps of 33 h + 16.
    assert [map_numbers(16, h) for h in (16, 32, 64, 128)] == [
        33 * h + 16 for h in (16, 32, 64, 128)
    ]
    assert map_numbers(16, None) == 256
    assert make([40, 3], hidden_dim=7).nbytes == 4 * (40 * E + 3 * map_numbers(E, 7))


@pytest.mark.parametrize("radices", [[120], [10, 11], [], [60, 1]])
def test_radices_that_do_not_reach_are_refused(radices):
    with pytest.raises(
        ValueError, match=r"radices must (be at least two numbers .* >= 120|have 1 to 64)"
    ):
        make(radices)


def test_the_planner_falls_back_on_narrow_maps():
    linear = memcom.plan("path", 10_000, 64, ratio=4).arguments
    assert "hidden_dim" not in linear
    narrow = memcom.plan("path", 10_000, 64, ratio=16)
    h, (rows, classes) = narrow.arguments["hidden_dim"], narrow.arguments["radices"]
    assert narrow.nbytes == 4 * (64 * rows + classes * (64 * h + h + h * 64 + 64))
    with pytest.raises(memcom.BudgetError, match="a map takes at least 193 numbers"):
        memcom.plan("path", 10_000, 64, ratio=64)
    with pytest.raises(memcom.BudgetError, match="a map takes at least 1096 numbers"):
        memcom.plan("path", 10_000, 64, ratio=16, hidden_dim=8)


def test_memory_grows_with_the_vectors_and_not_with_the_maps():
    # A gathered map per id would take 4000 * 64 * 64 floats.
    layer = memcom.PathEmbedding(4000, 64, radices=[1000, 4])
    largest = 0
    with torch.profiler.profile(profile_memory=True, record_shapes=False) as profile:
        layer(torch.arange(4000))
    for event in profile.events():
        largest = max(largest, event.self_cpu_memory_usage)
    assert 0 < largest <= 4000 * 64 * 4 * 2


@pytest.mark.parametrize("hidden_dim", [None, 1, 30])
@pytest.mark.parametrize("radices", [[2000, 4], [20, 8, 50], [400, 20], [4, 2000]])
def test_large_batches_repeats_and_gradients_are_those_of_every_map_on_every_vector(
    radices, hidden_dim
):
    torch.manual_seed(0)
    options = {"radices": radices, "hidden_dim": hidden_dim, "dtype": torch.float64}
    layer = memcom.PathEmbedding(8000, E, **options)
    ids = torch.randint(8000, (30, 40), generator=torch.Generator().manual_seed(1)) // 3
    # In a transform of torch no shape depends on the ids: every map is applied to every vector.
    torch.testing.assert_close(layer(ids), torch.func.vmap(layer)(ids))
    wanted = list(layer.parameters())
    got = torch.autograd.grad(layer(ids).square().sum(), wanted)
    expected = torch.autograd.grad(torch.func.vmap(layer)(ids).square().sum(), wanted)
    torch.testing.assert_close(got, expected)


def test_products_are_taken_once_for_each_class():
    # 20 classes on 1,000 vectors are 20 products; a map on every vector were 20 times the numbers.
    layer = memcom.PathEmbedding(10_000, 64, radices=[500, 20])
    with memcom.kernels.plain(), torch.profiler.profile(record_shapes=True) as profile:
        layer(torch.arange(0, 10_000, 10))
    products = [event for event in profile.events() if event.name == "aten::mm"]
    assert sum(event.input_shapes[0][0] for event in products) == 1000
