"""Optimizers on touched rows, against torch's own and against NumPy."""

from __future__ import annotations

import contextlib
import copy
import gc

import numpy as np
import pytest
import torch

import memcom
from memcom import kernels, optim

compiled_and_plain = pytest.mark.parametrize("context", [contextlib.nullcontext, kernels.plain])


def twins(**options):
    layers = []
    for _ in range(2):
        torch.manual_seed(0)
        layers.append(memcom.MEmComEmbedding(200, 24, num_buckets=17, bias=True, **options))
    return layers


def steps(layer, optimizer, number=5):
    generator = torch.Generator().manual_seed(3)
    for _ in range(number):
        optimizer.zero_grad()
        ids = torch.randint(80, (60,), generator=generator)
        (layer(ids) * torch.randn(60, 24, generator=generator)).sum().backward()
        optimizer.step()


def assert_equal_layers(a, b):
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


@compiled_and_plain
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda p: optim.SGD(p, lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            lambda p: optim.LazyAdam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6),
            lambda p: torch.optim.SparseAdam(list(p), lr=0.02, betas=(0.8, 0.95), eps=1e-6),
        ),
    ],
)
def test_sparse_steps_are_torchs(ours, theirs, context):
    layer, reference = twins(sparse=True)
    with context():
        steps(layer, ours(layer.parameters()))
    with kernels.plain():
        steps(reference, theirs(reference.parameters()))
    assert_equal_layers(layer, reference)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda p: optim.SGD(p, lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (lambda p: optim.LazyAdam(p, lr=0.02), lambda p: torch.optim.Adam(p, lr=0.02)),
    ],
)
def test_dense_steps_are_torchs(ours, theirs):
    layer, reference = twins()
    steps(layer, ours(layer.parameters()))
    steps(reference, theirs(reference.parameters()))
    assert_equal_layers(layer, reference)


@compiled_and_plain
def test_rowwise_adagrad_is_its_formula(context):
    table = torch.nn.Parameter(torch.randn(50, 8))
    expected, total = table.detach().double().numpy().copy(), np.zeros((50, 1))
    optimizer = optim.RowwiseAdagrad([table], lr=0.3, eps=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(4):
        rows = np.sort(rng.choice(50, 9, replace=False))
        g = rng.normal(size=(9, 8)).astype(np.float32)
        indices = torch.from_numpy(rows).unsqueeze(0)
        values = torch.from_numpy(g)
        table.grad = torch.sparse_coo_tensor(indices, values, (50, 8), check_invariants=True)
        with context():
            optimizer.step()
        total[rows] += np.square(g).mean(1, keepdims=True)
        expected[rows] -= 0.3 * g / (np.sqrt(total[rows]) + 1e-3)
    np.testing.assert_allclose(table.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [optim.SGD, optim.RowwiseAdagrad, optim.LazyAdam])
def test_rows_that_were_not_read_do_not_move(make):
    layer = memcom.FullEmbedding(1000, 8, sparse=True)
    before = layer.table.detach().clone()
    ids = torch.tensor([3, 700, 3])
    optimizer = make(layer.parameters())
    layer(ids).sum().backward()
    optimizer.step()
    moved = (layer.table != before).any(1).nonzero().flatten()
    assert moved.tolist() == [3, 700]


@compiled_and_plain
def test_a_row_named_twice_is_changed_once_by_the_sum(context):
    table = torch.nn.Parameter(torch.ones(4, 2))
    indices = torch.tensor([[2, 0, 2]])
    table.grad = torch.sparse_coo_tensor(indices, torch.tensor([[1.0, 2], [5, 5], [3, 4]]), (4, 2))
    optimizer = optim.RowwiseAdagrad([table], lr=1.0)
    with context():
        optimizer.step()
    g = np.array([4.0, 6.0])
    expected = 1 - g / np.sqrt(np.square(g).mean())
    np.testing.assert_allclose(table.detach()[2].numpy(), expected, rtol=1e-6)


def test_state_survives_saving():
    layer, other = twins(sparse=True)
    optimizer = optim.LazyAdam(layer.parameters())
    steps(layer, optimizer)
    other.load_state_dict(layer.state_dict())
    resumed = optim.LazyAdam(other.parameters(), lr=9.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(layer, optimizer), steps(other, resumed)
    assert_equal_layers(layer, other)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: optim.SGD(p, lr=-1),
        lambda p: optim.RowwiseAdagrad(p, eps=-1e-3),
        lambda p: optim.LazyAdam(p, betas=(0.9, 1.0)),
        lambda p: optim.LazyAdam(p, lr=float("nan")),
    ],
)
def test_senseless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be .*got"):
        wrong([torch.nn.Parameter(torch.zeros(2, 2))])


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_are_forgotten_or_zero(set_to_none):
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = optim.SGD([weight], lr=0.1)
    weight.sum().backward()
    optimizer.zero_grad(set_to_none=set_to_none)
    assert weight.grad is None if set_to_none else not weight.grad.any()


# --- fused, against the same loop without fuse ----------------------------------------------------

RULES = [
    lambda p: optim.SGD(p, lr=0.1),
    lambda p: optim.RowwiseAdagrad(p, lr=0.1),
    lambda p: optim.LazyAdam(p, lr=0.02),
]


def plain_loop(model, optimizer, batches):
    for ids in batches:
        optimizer.zero_grad()
        model(ids).square().mean().backward()
        optimizer.step()


def clipping_loop(model, optimizer, batches):
    for ids in batches:
        optimizer.zero_grad()
        (model(ids).square().sum() * 100).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        assert norm > 1
        optimizer.step()


def scaled_loop(model, optimizer, batches):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    for ids in batches:
        optimizer.zero_grad()
        scaler.scale(model(ids).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()


def accumulating_loop(model, optimizer, batches):
    for k, ids in enumerate(batches):
        model(ids).square().mean().backward()
        if k % 2:
            optimizer.step()
            optimizer.zero_grad()


def twice_called_loop(model, optimizer, batches):
    for ids in batches:
        optimizer.zero_grad()
        (model(ids) * model(ids.flip(0))).mean().backward()
        optimizer.step()


def refilled_ids_loop(model, optimizer, batches):
    ids = batches[0].clone()
    for batch in batches:
        optimizer.zero_grad()
        ids = ids.copy_(batch)
        model(ids).square().mean().backward()
        ids.numpy()[:] = 0
        optimizer.step()


LOOPS = [
    plain_loop,
    clipping_loop,
    scaled_loop,
    accumulating_loop,
    twice_called_loop,
    refilled_ids_loop,
]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("spec", ["memcom-bias", "qr", "qr(operation=add)"])
def test_a_fused_loop_ends_where_the_loop_without_fuse_ends(spec, rule, loop):
    kernels.warm_up()
    batches = torch.randint(80, (4, 60))
    ends = []
    for fused in (True, False):
        torch.manual_seed(1)
        name, options = memcom.parse_spec(spec)
        # Torch cannot clip or unscale sparse gradients; dense ones are those of SGD and Adagrad.
        sparse = fused or loop in (plain_loop, accumulating_loop) or rule is RULES[2]
        if loop in (clipping_loop, scaled_loop) and rule is RULES[2]:
            sparse = False
        layer = memcom.build(name, 200, 8, ratio=2, sparse=sparse, **options)
        model = torch.nn.Sequential(layer, torch.nn.Linear(8, 3))
        optimizer = rule(model.parameters())
        if fused and kernels.backend.HAVE_NUMBA:
            assert optimizer.fuse(model) == ["0"]
        loop(model, optimizer, batches)
        ends.append(model)
    assert_equal_layers(*ends)


def fused(rule=RULES[0], **options):
    pytest.importorskip("numba")
    kernels.warm_up()
    layer = memcom.QREmbedding(200, 8, num_collisions=8, sparse=True, **options)
    optimizer = rule(layer.parameters())
    optimizer.fuse(layer)
    return layer, optimizer, torch.randint(200, (60,))


def is_deferred(layer, ids):
    layer.zero_grad()
    layer(ids).sum().backward()
    return kernels.deferred_lookup(layer.remainder.grad) is not None


def test_layers_are_unfused_by_hand_and_when_the_optimizer_goes():
    layer, optimizer, ids = fused()
    assert is_deferred(layer, ids)
    optimizer.unfuse(layer)
    assert not is_deferred(layer, ids)
    optimizer.fuse(layer)
    assert is_deferred(layer, ids)
    before = copy.deepcopy(layer.state_dict())
    del optimizer
    gc.collect()
    assert not is_deferred(layer, ids)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_another_optimizer_takes_the_real_gradient():
    layer, optimizer, ids = fused()
    twin = copy.deepcopy(layer)
    for one in (layer, twin):
        other = torch.optim.SGD(one.parameters(), lr=0.5)
        one(ids).square().sum().backward()
        other.step()
    assert_equal_layers(layer, twin)
    del optimizer


def test_a_table_changed_between_backward_and_step_is_refused():
    layer, optimizer, ids = fused()
    layer(ids).square().sum().backward()
    with torch.no_grad():
        layer.remainder.mul_(2)
    with pytest.raises(RuntimeError, match="unfuse"):
        optimizer.step()


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("rule", RULES[1:])
def test_state_of_another_vocabulary_is_refused(rule, fuse):
    small = memcom.FullEmbedding(20, 8, sparse=True)
    trained = rule(small.parameters())
    small(torch.arange(20)).sum().backward()
    trained.step()
    layer = memcom.FullEmbedding(50_000, 8, sparse=True)
    optimizer = rule(layer.parameters())
    if fuse:
        optimizer.fuse(layer)
    optimizer.load_state_dict(trained.state_dict())
    layer(torch.arange(50_000)).sum().backward()
    with pytest.raises(ValueError, match=r"parameter 0.*50000.*got \[20"):
        optimizer.step()
    for state in optimizer.state.values():
        for name, value in state.items():
            if torch.is_tensor(value):
                state[name] = torch.zeros(50_000, value.shape[1], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"float32, got .*float64"):
        optimizer.step()


def test_options_of_other_rules_are_refused_by_name():
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    for option in ("weight_decay", "momentum", "maximize"):
        with pytest.raises(ValueError, match=f"not {option}"):
            optim.SGD([{"params": [weight], option: 0.5}])
        with pytest.raises(TypeError, match=option):
            optim.SGD([weight], **{option: 0.5})
