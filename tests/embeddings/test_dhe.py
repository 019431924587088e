from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import memcom
from memcom.embeddings.dhe import PART, activation_moments
from tests.embeddings.oracle import derived_seeds, hashed

N, E = 200, 6
IDS = torch.arange(N)


def make(widths=(9, 8, 7), **options):
    torch.manual_seed(0)
    return memcom.DHEmbedding(N, E, widths=list(widths), **options)


def codes_by_hand(ids, count, seed):
    return np.stack([hashed(ids, s) for s in derived_seeds(seed, count)], axis=-1)


def encoded(ids, width, seed, encoding):
    if encoding == "uniform":
        return 2 * (codes_by_hand(ids, width, seed) + 0.5) / 2**32 - 1
    unit = (codes_by_hand(ids, width + width % 2, seed) + 0.5) / 2**32
    first, second = np.hsplit(unit, 2)
    radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * second
    return np.hstack([radius * np.cos(angle), radius * np.sin(angle)])[:, :width]


ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "mish": lambda z: z * np.tanh(np.log1p(np.exp(z))),
}


@pytest.mark.parametrize("encoding", ["uniform", "gaussian"])
@pytest.mark.parametrize("activation", ["relu", "mish"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("widths", [(9,), (8, 5), (9, 8, 7), (1024, 5, 5, 5, 5, 5)])
def test_a_vector_is_the_network_of_its_hashes(widths, batch_norm, activation, encoding):
    options = {"batch_norm": batch_norm, "activation": activation, "encoding": encoding}
    layer = make(widths, seed=11, **options)
    state = {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}
    for training in (False, True):
        layer.train(training)
        x = encoded(IDS, widths[0], 11, encoding)
        for j in range(len(widths)):
            if j > 0:
                if batch_norm:
                    mean, variance = (x.mean(0), x.var(0)) if training else (0, 1)
                    x = (x - mean) / np.sqrt(variance + 1e-5)
                x = ACTIVATIONS[activation](x)
            x = x @ state[f"weights.{j}"].T + state[f"biases.{j}"]
        np.testing.assert_allclose(layer(IDS).detach(), x, rtol=1e-3, atol=1e-4)


def test_the_shape_of_the_paper_is_planned_compiled_and_equal_to_its_formula():
    n = 3000
    options = {"widths": [1024, *5 * [None]], "batch_norm": True}
    plan = memcom.plan("dhe", n, 64, ratio=4, **options)
    k, *hidden = plan.arguments["widths"]
    h = hidden[0]
    assert (k, hidden) == (1024, 5 * [h])

    def nbytes(h):
        weights = (1024 * h + h) + 4 * (h * h + h) + h * 64 + 64
        return 4 * (weights + 5 * 4 * h) + 5 * 8 + 8  # batch norm: four vectors and a counter

    assert plan.nbytes == nbytes(h) <= n * 64 < nbytes(h + 1)
    layer = plan.build()
    ids = torch.arange(n)
    for part in ids.split(1000):
        layer(part)
    layer.eval()
    # In evaluation a large batch is hashed and activated by the compiled loops, part by part.
    state = {name: tensor.double().numpy() for name, tensor in layer.state_dict().items()}
    x = encoded(ids, 1024, 0, "uniform")
    for j in range(6):
        if j > 0:
            name = f"norms.{j - 1}"
            x = (x - state[f"{name}.running_mean"]) / np.sqrt(state[f"{name}.running_var"] + 1e-5)
            x = ACTIVATIONS["mish"](x * state[f"{name}.weight"] + state[f"{name}.bias"])
        x = x @ state[f"weights.{j}"].T + state[f"biases.{j}"]
    with torch.no_grad():
        np.testing.assert_allclose(layer(ids), x, rtol=1e-3, atol=1e-4)
        with memcom.kernels.plain():
            np.testing.assert_allclose(layer(ids), x, rtol=1e-3, atol=1e-4)


def test_widths_are_given_or_left_to_a_budget():
    one = memcom.plan("dhe", 3000, 64, ratio=16, widths=[300, None])
    assert one.arguments["widths"][0] == 300
    assert memcom.plan("dhe", 3000, 64, ratio=16, widths=3 * [None]) == memcom.plan(
        "dhe", 3000, 64, ratio=16
    )
    with pytest.raises(ValueError, match="give widths or ratio, not both"):
        memcom.plan("dhe", 3000, 64, ratio=16, widths=[300, 20])
    with pytest.raises(TypeError, match="widths must be an int, got None"):
        memcom.build("dhe", 3000, 64, widths=[300, None])
    with pytest.raises(memcom.BudgetError, match="layers of one unit are the smallest network"):
        memcom.plan("dhe", 300, 64, ratio=40, widths=[1024, *5 * [None]])


@pytest.mark.parametrize("encoding", ["uniform", "gaussian"])
@pytest.mark.parametrize("activation", ["relu", "mish"])
def test_a_large_batch_goes_through_the_network_in_parts(activation, encoding):
    ids = torch.arange(3 * PART * torch.get_num_threads() + 1) % 1500
    layer = memcom.DHEmbedding(
        1500, E, widths=[64, 40], activation=activation, encoding=encoding, seed=3
    )
    state = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    x = encoded(ids, 64, 3, encoding)
    x = ACTIVATIONS[activation](x @ state["weights.0"].T + state["biases.0"])
    expected = x @ state["weights.1"].T + state["biases.1"]
    with torch.no_grad():
        np.testing.assert_allclose(layer(ids), expected, rtol=1e-3, atol=1e-5)
    vectors = layer(ids)
    np.testing.assert_allclose(vectors.detach(), expected, rtol=1e-3, atol=1e-5)
    got = torch.autograd.grad(vectors.square().sum(), list(layer.parameters()))
    exact = layer.double()
    expected = torch.autograd.grad(exact(ids).square().sum(), list(exact.parameters()))
    torch.testing.assert_close([g.double() for g in got], list(expected), rtol=1e-3, atol=1e-2)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40 - 1), st.integers(0, 2**32 - 1))
def test_addresses_are_the_hashes_for_ids_up_to_2_to_the_40(id, seed):
    layer = memcom.DHEmbedding(2**40, 1, widths=[5], seed=seed)
    codes = layer.addresses(torch.tensor([id]))["codes"]
    assert codes.tolist() == codes_by_hand([id], 5, seed).tolist()


@pytest.mark.parametrize("width", [1, 6, 7])
def test_encodings_have_the_distribution_they_are_named_for(width):
    ids = torch.arange(20_000 // width)
    for encoding, law in (("uniform", stats.uniform(-1, 2)), ("gaussian", stats.norm())):
        layer = memcom.DHEmbedding(len(ids), 1, widths=[width], encoding=encoding)
        codes = layer.encode(layer.codes(ids))
        assert stats.kstest(codes.flatten().numpy(), law.cdf).pvalue > 1e-3
        if width > 1:
            off_diagonal = np.corrcoef(codes.numpy().T) - np.eye(width)
            assert np.abs(off_diagonal).max() < 5 / len(ids) ** 0.5
        ends = torch.tensor([0, 2**32 - 1])[:, None].expand(2, 2 * width)
        assert layer.encode(ends).isfinite().all()


@pytest.mark.parametrize("activation", ["relu", "mish"])
def test_moments_of_the_activations(activation):
    def moment(power):
        def value(z):
            return ACTIVATIONS[activation](z) ** power * stats.norm.pdf(z)

        return integrate.quad(value, -20, 0)[0] + integrate.quad(value, 0, 20)[0]

    mean, variance = activation_moments(activation)
    assert mean == pytest.approx(moment(1), abs=1e-6)
    assert variance == pytest.approx(moment(2) - moment(1) ** 2, abs=1e-6)


@pytest.mark.parametrize("std", [1.0, 0.05])
@pytest.mark.parametrize("encoding", ["uniform", "gaussian"])
@pytest.mark.parametrize("activation", ["relu", "mish"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_outputs_have_the_variance_and_little_in_common(batch_norm, activation, encoding, std):
    squares, shared = [], []
    for seed in range(30):
        torch.manual_seed(seed)
        layer = memcom.DHEmbedding(
            500,
            16,
            widths=[48, 48, 48],
            encoding=encoding,
            activation=activation,
            batch_norm=batch_norm,
        ).eval()
        layer.reset_parameters(std=std)
        vectors = layer.materialize() / std
        squares.append(vectors.square().mean().item())
        shared.append(vectors.mean(0).square().mean().item())
    assert np.mean(squares) == pytest.approx(1.0, rel=0.1)
    assert np.mean(shared) < 0.1  # with zero biases and a ReLU it is above 0.4


def test_nothing_is_kept_between_calls_and_nothing_hidden():
    # A cache of all codes, as elsewhere, would hold k n numbers that no count of parameters sees.
    layer = make(widths=(64, 8))
    before = {name: id(value) for name, value in vars(layer).items()}
    nbytes = layer.nbytes
    layer.materialize()
    assert {name: id(value) for name, value in vars(layer).items()} == before
    assert layer.nbytes == nbytes == 4 * (64 * 8 + 8 + 8 * E + E) + 8


def test_hashes_depend_on_the_seed_alone():
    # A counter in the class, as elsewhere, makes them depend on what was built before.
    first, _, second = make(seed=1), make(seed=2), make(seed=1)
    assert torch.equal(first.codes(IDS), second.codes(IDS))
    assert not torch.equal(first.codes(IDS), make(seed=2).codes(IDS))


def test_two_hashes_tell_a_hundred_thousand_ids_apart():
    layer = memcom.DHEmbedding(100_000, 1, widths=[2])
    assert len(layer.addresses(torch.arange(100_000))["codes"].unique(dim=0)) == 100_000


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0)])
def test_batch_norm_in_training_takes_batches_without_a_variance(shape):
    layer = make(batch_norm=True).train()
    running = layer.norms[0].running_mean.clone()
    ids = torch.zeros(shape, dtype=torch.int64)
    torch.testing.assert_close(layer(ids), layer.eval()(ids))
    assert torch.equal(layer.norms[0].running_mean, running)


def test_batch_norm_trains_compiles_and_counts():
    plain, layer = make(), make(batch_norm=True).train()
    assert layer.nbytes - plain.nbytes == 4 * 4 * (8 + 7) + 2 * 8
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(IDS), layer(IDS))
    layer(IDS).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.norms.parameters())
    assert (layer.norms[0].running_mean != 0).any()
    layer.eval()
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(layer, (IDS[:9],), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(program(IDS), layer(IDS))


def test_weights_can_be_stored_in_eight_bits():
    layer = make(widths=(64, 64, 64)).eval()
    packed = memcom.quantize(layer, bits=8)
    rows = 64 + 64 + E
    assert packed.nbytes == rows * (64 + 4) + rows * 4 + 8
    error = (packed(IDS) - layer(IDS)).abs().max()
    assert 0 < error < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": []}, "widths must have 1 to 64 numbers"),
        ({"widths": [4, 0]}, r"widths must be >= 1 .*got 0"),
        ({"encoding": "binary"}, "encoding must be one of 'uniform', 'gaussian'"),
        ({"activation": "tanh"}, "activation must be one of 'mish', 'relu'"),
        ({"seed": 2**32}, "seed must be >= 0 and <= 4294967295"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**{"widths": [4], **options})


def test_bytes_have_nothing_to_do_with_the_number_of_ids():
    small, large = (memcom.plan("dhe", n, 64, nbytes="1 MB") for n in (10**5, 10**9))
    assert small.arguments == large.arguments
    h = small.arguments["widths"][0]

    def nbytes(h):
        return 4 * (2 * (h * h + h) + h * 64 + 64) + 8

    assert small.nbytes == nbytes(h) <= 10**6 < nbytes(h + 1)
