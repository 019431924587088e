from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch

import memcom

N, E, D, K = 120, 12, 3, 8
IDS = torch.arange(N)


def layer(form: str = "softmax", cls=memcom.DPQEmbedding, **options):
    torch.manual_seed(0)
    return cls(N, E, num_groups=D, num_codewords=K, form=form, **options)


def chosen(s: dict[str, np.ndarray], form: str, allowed=lambda i: K) -> np.ndarray:
    """Codes by the definition: most similar key, or nearest codeword."""
    codes = np.zeros((N, D), dtype=int)
    for i in range(N):
        for j in range(D):
            q = s["query"][i, j * 4 : j * 4 + 4]
            book = slice(j * K, j * K + allowed(i))
            if form == "softmax":
                codes[i, j] = np.argmax(s["keys"][book] @ q)
            else:
                codes[i, j] = np.argmin(((s["values"][book] - q) ** 2).sum(1))
    return codes


def looked_up(s: dict[str, np.ndarray], codes: np.ndarray) -> np.ndarray:
    return s["values"].reshape(D, K, -1)[np.arange(D), codes].reshape(N, E)


def state(emb) -> dict[str, np.ndarray]:
    return {name: t.numpy() for name, t in emb.state_dict().items()}


@pytest.mark.parametrize("form", ["softmax", "centroid"])
def test_vectors_are_the_chosen_codewords(form):
    emb = layer(form)
    s = state(emb)
    codes = chosen(s, form)
    np.testing.assert_allclose(emb.materialize().numpy(), looked_up(s, codes), atol=1e-6)
    np.testing.assert_array_equal(emb.addresses(IDS)["values"].numpy(), codes + K * np.arange(D))


@pytest.mark.parametrize("form", ["softmax", "centroid"])
def test_mgqe_gives_rare_ids_the_first_codewords_only(form):
    emb = layer(form, memcom.MGQEmbedding, rare_codewords=3, frequent_share=0.25)
    assert emb.tiers() == [(30, K), (90, 3)]
    s = state(emb)
    codes = chosen(s, form, lambda i: K if i < 30 else 3)
    assert codes[:30].max() > 2
    np.testing.assert_allclose(emb.materialize().numpy(), looked_up(s, codes), atol=1e-6)


def test_the_softmax_gradient_by_hand():
    # For loss <g, x>, d/d query of <g, sum_k softmax_k V_k>; the codewords get g where chosen.
    emb = layer("softmax").double()
    g = torch.randn(N, E, dtype=torch.float64)
    (emb(IDS) * g).sum().backward()
    s, gradient = state(emb), g.numpy()
    d_query, d_values = np.zeros((N, E)), np.zeros_like(s["values"])
    codes = chosen(s, "softmax")
    for i in range(N):
        for j in range(D):
            cut, book = slice(j * 4, j * 4 + 4), slice(j * K, j * K + K)
            keys, values = s["keys"][book], s["values"][book]
            p = np.exp(keys @ s["query"][i, cut])
            p /= p.sum()
            score = values @ gradient[i, cut]
            d_query[i, cut] = keys.T @ (p * (score - p @ score))
            d_values[j * K + codes[i, j]] += gradient[i, cut]
    np.testing.assert_allclose(emb.query.grad.numpy(), d_query, atol=1e-10)
    np.testing.assert_allclose(emb.values.grad.numpy(), d_values, atol=1e-10)


def test_the_centroid_gradient_goes_straight_through():
    emb = layer("centroid")
    g = torch.randn(N, E)
    (emb(IDS) * g).sum().backward()
    torch.testing.assert_close(emb.query.grad, g)
    assert emb.keys is None


def test_the_regularizer_is_the_distance_of_query_and_codeword():
    emb = layer("centroid", commitment=0.5)
    s = state(emb)
    squared = ((looked_up(s, chosen(s, "centroid")) - s["query"]) ** 2).mean()
    assert emb.regularizer(IDS).item() == pytest.approx(1.5 * squared, rel=1e-5)
    assert layer("centroid", commitment=None).regularizer(IDS) is None
    assert layer("softmax").regularizer(IDS) is None
    emb = layer("centroid", commitment=0.0)
    emb.regularizer(IDS).backward()
    assert (emb.query.grad == 0).all()
    assert (emb.values.grad != 0).any()


def test_the_regularizer_has_its_two_gradients_and_none_of_a_padding_id():
    emb = layer("centroid", commitment=0.25, padding_idx=5).double()
    ids = torch.tensor([3, 5, 3, 7])
    emb.regularizer(ids).backward()
    s = state(emb)
    codes = chosen(s, "centroid")
    away = looked_up(s, codes) - s["query"]
    d_query, d_values = np.zeros((N, E)), np.zeros_like(s["values"])
    for i in (3, 3, 7):  # mean over three ids of width E
        d_query[i] -= 0.25 * 2 * away[i] / (3 * E)
        for j in range(D):
            d_values[j * K + codes[i, j]] += 2 * away[i, j * 4 : j * 4 + 4] / (3 * E)
    np.testing.assert_allclose(emb.query.grad.numpy(), d_query, atol=1e-12)
    np.testing.assert_allclose(emb.values.grad.numpy(), d_values, atol=1e-12)
    assert emb.regularizer(torch.tensor([5])).item() == 0


# --- batch norm over the responses ----------------------------------------------------------------


def responses(s: dict[str, np.ndarray], form: str, ids: np.ndarray) -> np.ndarray:
    """(ids, D, K): products with the keys, or minus squared distances to the codewords."""
    query = s["query"][ids].reshape(len(ids), D, -1)
    if form == "softmax":
        return np.einsum("ndw,dkw->ndk", query, s["keys"].reshape(D, K, -1))
    return -((query[:, :, None] - s["values"].reshape(D, K, -1)) ** 2).sum(-1)


def normalised(r: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return (r - mean) / np.sqrt(variance + 1e-3)


@pytest.mark.parametrize("form", ["softmax", "centroid"])
@pytest.mark.parametrize("cls", [memcom.DPQEmbedding, memcom.MGQEmbedding])
def test_batch_norm_is_over_ids_and_groups_and_evaluation_takes_running_statistics(cls, form):
    emb = layer(form, cls, batch_norm=True).double()
    allowed = np.repeat([k for _, k in emb.tiers()], [n for n, _ in emb.tiers()])
    with torch.no_grad():  # without batch norm a few codewords take nearly all ids
        (emb.values if form == "centroid" else emb.keys).mul_(
            torch.linspace(0.2, 3, K).repeat(D)[:, None]
        )
    rng = np.random.default_rng(0)
    mean, variance = np.zeros(K), np.ones(K)
    s = state(emb)

    def expected(r: np.ndarray, ids: np.ndarray) -> np.ndarray:
        r = np.where(np.arange(K) >= allowed[ids, None, None], -np.inf, r)
        return s["values"].reshape(D, K, -1)[np.arange(D), r.argmax(-1)].reshape(len(ids), E)

    plain = emb.eval()(IDS)
    np.testing.assert_allclose(
        plain.detach(), expected(responses(s, form, np.arange(N)), np.arange(N))
    )
    emb.train()
    for _ in range(3):
        ids = rng.integers(0, N, 700)  # so many, with repeats, that others look each up once
        r = responses(s, form, ids)
        moments = r.mean((0, 1)), r.var((0, 1))
        vectors = emb(torch.from_numpy(ids))
        np.testing.assert_allclose(vectors.detach(), expected(normalised(r, *moments), ids))
        mean, variance = 0.9 * mean + 0.1 * moments[0], 0.9 * variance + 0.1 * moments[1]
        emb.regularizer(torch.from_numpy(ids))  # the same batch again, which does not count
    np.testing.assert_allclose(emb.response_mean, mean)
    np.testing.assert_allclose(emb.response_variance, variance)
    every = expected(normalised(responses(s, form, np.arange(N)), mean, variance), np.arange(N))
    assert not np.allclose(every, plain.detach())
    for table in (emb.eval().materialize(), emb.train().freeze().materialize()):
        np.testing.assert_allclose(table, every)


def test_the_gradient_through_batch_norm_by_an_own_jacobian():
    # Of <g, sum_k softmax_k(BN(r)) V_k> by differences in NumPy: the mean and the spread of the
    # batch move with every query and key.
    emb = layer("softmax", batch_norm=True).double()
    ids = np.array([0, 1, 1, 4, 9])
    g = np.random.default_rng(0).normal(size=(len(ids), E))
    (emb(torch.from_numpy(ids)) * torch.from_numpy(g)).sum().backward()
    s = {name: value.copy() for name, value in state(emb).items()}

    def soft() -> float:
        r = responses(s, "softmax", ids)
        r = normalised(r, r.mean((0, 1)), r.var((0, 1)))
        p = np.exp(r) / np.exp(r).sum(-1, keepdims=True)
        return float(
            (np.einsum("ndk,dkw->ndw", p, s["values"].reshape(D, K, -1)).reshape(-1, E) * g).sum()
        )

    for name in ("query", "keys"):
        got, table = getattr(emb, name).grad.numpy(), s[name]
        for row, column in itertools.product((0, 1, 2, 9, 20), range(table.shape[1])):
            kept = table[row, column]
            table[row, column] = kept + 1e-6
            above = soft()
            table[row, column] = kept - 1e-6
            slope = (above - soft()) / 2e-6
            table[row, column] = kept
            assert got[row, column] == pytest.approx(slope, abs=1e-7), (name, row, column)
    # The codewords get g where they are chosen, by the largest normalised response.
    r = responses(s, "softmax", ids)
    codes = normalised(r, r.mean((0, 1)), r.var((0, 1))).argmax(-1)
    d_values = np.zeros_like(s["values"])
    for n, j in itertools.product(range(len(ids)), range(D)):
        d_values[j * K + codes[n, j]] += g[n, j * 4 : j * 4 + 4]
    np.testing.assert_allclose(emb.values.grad.numpy(), d_values, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (1,), (0,)])
def test_batch_norm_in_training_takes_batches_without_a_variance(shape):
    emb = layer(batch_norm=True).train()
    ids = torch.zeros(shape, dtype=torch.int64)
    torch.testing.assert_close(emb(ids), emb.eval()(ids))
    assert (emb.response_mean == 0).all()


def test_batch_norm_trains_compiles_and_is_not_shipped():
    plain, emb = layer(), layer(batch_norm=True).train()
    assert emb.nbytes - plain.nbytes == 2 * 4 * K
    assert emb.frozen_nbytes == plain.frozen_nbytes
    torch._dynamo.reset()
    compiled = torch.compile(emb, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(IDS), emb(IDS))
    assert (emb.response_mean != 0).any()


@pytest.mark.parametrize("form", ["softmax", "centroid"])
def test_in_half_precision_batch_norm_keeps_the_codes(form):
    emb = layer(form, batch_norm=True)
    for _ in range(30):
        emb(IDS)
    half = copy.deepcopy(emb).to(torch.bfloat16)
    other = half.addresses(IDS)["values"] != emb.addresses(IDS)["values"]
    assert other.float().mean() < 0.1
    assert half.train()(IDS).dtype == torch.bfloat16


@pytest.mark.parametrize("form", ["softmax", "centroid"])
@pytest.mark.parametrize("cls", [memcom.DPQEmbedding, memcom.MGQEmbedding])
def test_freezing_keeps_the_vectors_and_drops_the_query(cls, form):
    emb = layer(form, cls, padding_idx=7)
    frozen = emb.freeze()
    assert isinstance(frozen, memcom.CodebookEmbedding)
    assert torch.equal(frozen.materialize(), emb.materialize())
    bits = [(N * D * 3)] if cls is memcom.DPQEmbedding else [12 * D * 3, 108 * D * 1]
    assert frozen.nbytes == emb.frozen_nbytes == 4 * K * E + sum(-(-b // 8) for b in bits)
    assert torch.equal(frozen.addresses(IDS)["values"], emb.addresses(IDS)["values"])
    assert emb.nbytes > emb.full_nbytes > frozen.nbytes


def test_a_frozen_layer_still_trains_its_codewords():
    frozen = layer().freeze()
    before, codes = frozen.materialize(), frozen.addresses(IDS)["values"]
    frozen(IDS).square().sum().backward()
    torch.optim.SGD(frozen.parameters(), 0.1).step()
    assert not torch.equal(frozen.materialize(), before)
    assert torch.equal(frozen.addresses(IDS)["values"], codes)


def test_a_frozen_layer_survives_reset_and_meta():
    frozen = layer(cls=memcom.MGQEmbedding).freeze()
    empty = memcom.CodebookEmbedding(N, E, num_groups=D, tiers=frozen.tiers, device="meta")
    assert empty.nbytes == frozen.nbytes
    loaded = empty.to_empty(device="cpu")
    loaded.load_state_dict(frozen.state_dict())
    assert torch.equal(loaded.materialize(), frozen.materialize())
    loaded.reset_parameters(std=3.0)
    assert loaded.materialize().std().item() == pytest.approx(3.0, rel=0.2)


@pytest.mark.parametrize("form", ["softmax", "centroid"])
def test_codes_learn_which_ids_are_alike(form):
    # Ids of one kind want one vector. Six kinds fit into eight codewords per group.
    emb = layer(form)
    kinds = IDS % 6
    wanted = torch.randn(6, E)[kinds]
    optimizer = torch.optim.Adam(emb.parameters(), 0.05)

    def loss() -> torch.Tensor:
        error = (emb(IDS) - wanted).square().mean()
        term = emb.regularizer(IDS)
        return error if term is None else error + term

    before = (emb(IDS) - wanted).square().mean().item()
    for _ in range(150):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    after = (emb.freeze()(IDS) - wanted).square().mean().item()
    assert after < 0.25 * before


@pytest.mark.parametrize("name", ["dpq", "mgqe"])
@pytest.mark.parametrize("dim", [16, 24, 256])
@pytest.mark.parametrize("ratio", [2, 4, 16, 64])
def test_budgets_mean_the_frozen_layer(name, dim, ratio):
    plan = memcom.plan(name, 3000, dim, ratio=ratio)
    emb = plan.build()
    assert plan.nbytes == emb.freeze().nbytes <= 4 * 3000 * dim / ratio


def test_fixed_options_stay_fixed():
    plan = memcom.plan("dpq", 3000, 64, ratio=16, num_codewords=16)
    assert plan.arguments["num_codewords"] == 16
    plan = memcom.plan("dpq", 3000, 64, ratio=16, num_groups=8)
    assert plan.arguments["num_groups"] == 8


def test_a_senseless_commitment_is_refused():
    with pytest.raises(ValueError, match=r"commitment must be >= 0 .* got -1"):
        layer("centroid", commitment=-1.0)


def test_groups_must_divide_the_width():
    with pytest.raises(ValueError, match=r"one of \[1, 2, 3, 4, 6, 12\], got 5"):
        memcom.DPQEmbedding(N, E, num_groups=5, num_codewords=K)


def test_tiers_must_cover_all_ids():
    with pytest.raises(ValueError, match="add up to 120"):
        memcom.CodebookEmbedding(N, E, num_groups=D, tiers=[(100, 8)])


@pytest.mark.parametrize("name", ["dpq", "mgqe"])
def test_every_small_vocabulary_freezes_within_its_budget(name):
    tried = 0
    for n, e, ratio in itertools.product(range(1, 11), range(1, 5), (1.1, 1.5, 2, 3, 4)):
        try:
            layer = memcom.build(name, n, e, ratio=ratio)
        except memcom.BudgetError:
            continue
        tried += 1
        frozen, ids = layer.freeze(), torch.arange(n)
        assert torch.equal(frozen(ids), layer(ids)), (n, e, ratio)
        assert frozen.nbytes <= 4 * n * e / ratio
    assert tried > 15


@pytest.mark.parametrize("name", ["dpq", "mgqe"])
@pytest.mark.parametrize("form", ["softmax", "centroid"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_nearly_all_codes_are_those_of_float32(name, form, dtype):
    torch.manual_seed(0)
    layer = memcom.build(name, 2000, 16, ratio=4, form=form)
    half, ids = copy.deepcopy(layer).to(dtype), torch.arange(2000)
    other = half.addresses(ids)["values"] != layer.addresses(ids)["values"]
    assert other.float().mean() < 0.03  # rounding queries and codewords moves a few
    assert (half(ids).float() - layer(ids)).norm() < 0.03 * layer(ids).norm()
