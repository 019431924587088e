"""Tables that are replaced by codes: product and residual quantisation."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import memcom
from memcom import embeddings, kernels
from memcom.embeddings import CodesSchedule
from memcom.export import load, save
from tests.embeddings.cases import structured_table

N, E, K = 120, 12, 8
IDS = torch.arange(N)
BOTH = pytest.mark.parametrize("name", ["pq", "rq"])
SHAPE = {"pq": {"num_groups": 3}, "rq": {"num_codebooks": 3}}


def layer(name: str, n: int = N, k: int = K, **options):
    torch.manual_seed(0)
    return memcom.build(name, n, E, num_codewords=k, **SHAPE[name], **options)


def squared_error(emb) -> float:
    return float((emb.freeze().materialize() - emb.table.detach()).square().mean())


@BOTH
def test_a_table_is_trained_and_gives_its_rows(name):
    emb = layer(name)
    assert torch.equal(emb(IDS), emb.table)
    emb(IDS[:5]).sum().backward()
    assert emb.table.grad[:5].eq(1).all()
    assert emb.codebook.values.grad is None
    assert emb.addresses(IDS)["table"].equal(IDS)


def test_codes_are_the_nearest_codewords_of_each_group():
    emb = layer("pq")
    table = emb.table.detach().numpy()
    emb.quantise()
    values = emb.codebook.values.detach().numpy().reshape(3, K, 4)
    columns = table.reshape(N, 3, 4).transpose(1, 0, 2)
    distance = ((columns[:, :, None] - values[:, None]) ** 2).sum(-1)  # groups, ids, codewords
    codes = emb.addresses(IDS)["codebook.values"].numpy() - K * np.arange(3)
    np.testing.assert_array_equal(codes, distance.argmin(-1).T)
    expected = np.concatenate([values[j][codes[:, j]] for j in range(3)], 1)
    np.testing.assert_array_equal(emb(IDS).detach().numpy(), expected)


def test_sums_of_codewords_are_found_by_a_beam_search():
    emb = layer("rq")
    table = emb.table.detach().numpy().astype(np.float64)
    emb.quantise()
    values = emb.codebook.values.detach().numpy().astype(np.float64).reshape(3, K, E)
    codes = emb.addresses(IDS)["codebook.values"].numpy() - K * np.arange(3)
    for row, found in zip(table, codes, strict=True):
        kept = [()]
        while len(kept[0]) < 3:
            longer = [(*c, k) for c in kept for k in range(K)]
            sums = [sum(values[t][c] for t, c in enumerate(cs)) for cs in longer]
            nearest = np.argsort(np.square(row - sums).sum(1))
            kept = [longer[i] for i in nearest[:4]]
        assert tuple(found) == kept[0]
    expected = sum(values[j][codes[:, j]] for j in range(3))
    np.testing.assert_allclose(emb(IDS).detach().numpy(), expected, atol=1e-5)


def test_the_beam_finds_better_sums_than_the_nearest_codeword_each_time():
    emb = layer("rq", n=2000)
    table = emb.table.detach().clone()
    emb.quantise()
    left = table.clone()
    for book in emb.codebook.values.detach().view(3, K, E):
        left -= book[torch.cdist(left, book).argmin(1)]
    assert (emb(torch.arange(2000)) - table).square().mean() < left.square().mean()


@BOTH
def test_as_many_codewords_as_rows_lose_nothing(name):
    emb = layer(name)
    with torch.no_grad():
        emb.table.copy_(emb.table[IDS % K])
    torch.testing.assert_close(emb.freeze().materialize(), emb.table.detach())


@BOTH
def test_more_codewords_and_more_codes_leave_less(name):
    def error(codes: int, codewords: int) -> float:
        torch.manual_seed(0)
        sizes = {next(iter(SHAPE[name])): codes, "num_codewords": codewords}
        return squared_error(memcom.build(name, 1000, E, **sizes))

    by_codes = [error(codes, 16) for codes in (1, 2, 3, 4, 6)]
    assert all(a > b for a, b in itertools.pairwise(by_codes)), by_codes
    by_words = [error(2, words) for words in (4, 16, 64)]
    assert all(a > b for a, b in itertools.pairwise(by_words)), by_words


@BOTH
def test_frequent_ids_weigh_more(name):
    emb, counts = layer(name, n=1000), torch.ones(1000, dtype=torch.int64)
    counts[:50] = 1000
    plain = emb.freeze()(torch.arange(50))
    emb.learn(counts, lambda width: None)
    weighted = emb.freeze()(torch.arange(50))
    rows = emb.table[:50]
    assert (weighted - rows).square().mean() < 0.8 * (plain - rows).square().mean()
    assert emb.nbytes - emb.frozen_nbytes == 4 * 1000 * E + 4 * 1000 + 1


@BOTH
@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
def test_the_schedule_replaces_the_table_and_then_trains_codewords_alone(name, make):
    model = nn.ModuleDict({"emb": layer(name), "other": nn.Linear(E, 2)})
    optimizer = make(model.parameters(), lr=0.01)
    schedules = embeddings.attach(model, 10, optimizer=optimizer)
    (schedule,) = schedules.schedules.values()
    assert type(schedule) is CodesSchedule
    emb, states = model["emb"], []
    for step in range(1, 11):
        optimizer.zero_grad()
        model["other"](emb(IDS)).square().mean().backward()
        optimizer.step()
        other = model["other"].weight.detach().clone()
        schedules.step()
        assert torch.equal(model["other"].weight, other)
        assert schedules.within_budget == (step >= 8)
        if step >= 8:
            states.append(copy.deepcopy(emb.state_dict()))
    after, end = states[0], states[-1]
    assert torch.equal(after["codebook.codes.0"], end["codebook.codes.0"])
    assert not torch.equal(after["codebook.values"], end["codebook.values"])
    assert torch.equal(after["table"], end["table"])
    assert emb.table.grad is None


@BOTH
@pytest.mark.parametrize("padding_idx", [None, 5])
def test_a_frozen_layer_gives_what_the_coded_one_gives(name, padding_idx):
    emb = layer(name, padding_idx=padding_idx)
    before = emb.freeze()
    emb.quantise()
    assert torch.equal(before(IDS), emb(IDS))
    with torch.no_grad():
        emb.codebook.values.add_(torch.rand_like(emb.codebook.values))
    frozen = emb.freeze()
    assert torch.equal(frozen(IDS), emb(IDS))
    assert isinstance(frozen, memcom.CodebookEmbedding)
    assert frozen.nbytes == emb.frozen_nbytes == frozen.values.nbytes + N * 3 * 3 // 8
    assert frozen.padding_idx == padding_idx


@BOTH
def test_compiled_lookups_notice_the_change_behind_private_rows_too(name):
    if not kernels.warm_up():
        pytest.skip("needs numba")
    ids = torch.randint(2000, (3000,), generator=torch.Generator().manual_seed(0))
    alone, behind = layer(name, n=2000), layer(name, n=2000, head=10)
    for emb, coded in ((alone, alone), (behind, behind.tail)):
        assert kernels.explain(emb, ids).name == "compiled"
        before = emb(ids)
        coded.quantise()
        after = emb(ids)
        assert not torch.allclose(before, after)
        assert kernels.explain(emb, ids).name == "compiled"
        with kernels.plain():
            torch.testing.assert_close(after, emb(ids))
        after.square().sum().backward()
        gradient = coded.codebook.values.grad.clone()
        coded.codebook.values.grad = None
        with kernels.plain():
            emb(ids).square().sum().backward()
        torch.testing.assert_close(gradient, coded.codebook.values.grad, rtol=1e-4, atol=1e-4)


@BOTH
def test_a_coded_layer_is_saved_loaded_and_copied(name, tmp_path):
    emb = layer(name)
    emb.quantise()
    fresh = layer(name)
    fresh.load_state_dict(emb.state_dict())
    back = load(save(emb, tmp_path / "coded.safetensors"))
    for other in (fresh, back, copy.deepcopy(emb)):
        assert torch.equal(other(IDS), emb(IDS))
        assert CodesSchedule(other, prune_steps=3).within_budget
    fresh.load_state_dict(layer(name).state_dict())
    assert torch.equal(fresh(IDS), fresh.table)
    emb.reset_parameters()
    assert torch.equal(emb(IDS), emb.table)
    compiled = torch.compile(back, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(IDS), back(IDS))


@BOTH
def test_sparse_gradients_of_codewords(name):
    emb = layer(name, sparse=True)
    emb.quantise()
    emb(IDS).sum().backward()
    sparse = emb.codebook.values.grad
    dense = copy.deepcopy(emb)
    dense.sparse = dense.codebook.sparse = False
    dense.zero_grad()
    dense(IDS).sum().backward()
    torch.testing.assert_close(sparse.to_dense(), dense.codebook.values.grad)
    assert sparse.is_sparse


@BOTH
def test_a_table_grows_until_it_is_coded(name):
    emb = layer(name)
    assert emb.resize_num_embeddings(N + 9).num_embeddings == N + 9
    emb.quantise()
    with pytest.raises(ValueError, match="cannot be resized to 129: its table has been replaced"):
        emb.resize_num_embeddings(N + 9)


@BOTH
def test_few_bits_buy_longer_codes(name):
    for ratio in (4, 16, 40):
        plain, packed = (
            memcom.plan(name, 3000, 64, ratio=ratio, **bits) for bits in ({}, {"bits": 8})
        )
        (codes, words), (more, of) = (
            [p.arguments[o] for o in (next(iter(SHAPE[name])), "num_codewords")]
            for p in (plain, packed)
        )
        assert more * of.bit_length() > codes * words.bit_length()
        assert packed.nbytes <= 4 * 3000 * 64 / ratio


@BOTH
def test_fixed_options_stay_fixed(name):
    option = next(iter(SHAPE[name]))
    assert memcom.plan(name, 3000, 64, ratio=16, **{option: 2}).arguments[option] == 2
    assert memcom.plan(name, 3000, 64, ratio=5, num_codewords=64).arguments["num_codewords"] == 64


@BOTH
@pytest.mark.parametrize(("option", "value"), [("num_codewords", 1), ("num_codewords", 2**17)])
def test_senseless_sizes_are_refused(name, option, value):
    with pytest.raises(ValueError, match=f"{option} must be .*{value}"):
        memcom.build(name, N, E, **{**SHAPE[name], option: value})
    for other, bad in (("num_groups", 5), ("num_codebooks", 65)):
        if other in SHAPE[name]:
            with pytest.raises(ValueError, match=f"got {bad}"):
                memcom.build(name, N, E, num_codewords=K, **{other: bad})


def correlated(n: int, seed: int = 0) -> torch.Tensor:
    """Rows in four directions across all columns, and noise."""
    return structured_table(n, E, 4, seed)


def test_rotated_codewords_are_those_of_the_formula():
    emb = layer("pq", rotate=True)
    with torch.no_grad():
        emb.table.copy_(correlated(N))
    table = emb.table.detach().numpy()
    emb.quantise()
    rotation = emb.rotation.numpy()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(E), atol=1e-5)
    assert np.abs(rotation - np.eye(E)).max() > 0.3
    values = emb.codebook.values.detach().numpy().reshape(3, K, 4)
    columns = (table @ rotation.T).reshape(N, 3, 4).transpose(1, 0, 2)
    distance = ((columns[:, :, None] - values[:, None]) ** 2).sum(-1)
    codes = emb.addresses(IDS)["codebook.values"].numpy() - K * np.arange(3)
    np.testing.assert_array_equal(codes, distance.argmin(-1).T)
    expected = np.concatenate([values[j][codes[:, j]] for j in range(3)], 1) @ rotation
    np.testing.assert_allclose(emb(IDS).detach().numpy(), expected, atol=1e-5)


def test_the_rotation_is_the_best_one_for_the_codes(monkeypatch):
    # Of one turn: no rotation in any plane of two columns, by hand, leaves less.
    monkeypatch.setattr("memcom.embeddings.product_codes.TURNS", 1)
    emb = layer("pq", rotate=True)
    weights = torch.rand(N, generator=torch.Generator().manual_seed(1)) + 0.1
    rows = correlated(N)
    codewords, rotation = emb.fit(rows, weights, torch.Generator().manual_seed(0))
    plain = layer("pq")
    before, _ = plain.fit(rows, weights, torch.Generator().manual_seed(0))
    codes = plain.encode(rows, before)  # before the turn
    coded = torch.cat([book[code] for book, code in zip(codewords, codes.T, strict=True)], 1)

    def error(matrix: np.ndarray) -> float:
        left = rows.double().numpy() - coded.double().numpy() @ matrix
        return float((weights.double().numpy() * np.square(left).sum(1)).sum())

    best = rotation.double().numpy()
    assert error(best) < error(np.eye(E))
    for a, b in itertools.combinations(range(E), 2):
        for angle in (-0.01, 0.01):
            turn = np.eye(E)
            turn[[a, b], [a, b]] = np.cos(angle)
            turn[a, b], turn[b, a] = np.sin(angle), -np.sin(angle)
            assert error(turn @ best) > error(best)


def test_a_rotation_lowers_the_weighted_error_where_columns_go_together():
    table, weights = correlated(2000), 1000 / torch.arange(1, 2001).float()
    errors = []
    for rotate in (False, True):
        emb = layer("pq", n=2000, k=16, rotate=rotate)
        emb.fit_table(table, weights)
        left = (emb.freeze().materialize() - table).square().sum(1)
        errors.append(float((weights * left).sum()))
    assert errors[1] < 0.8 * errors[0], errors


def test_a_rotation_is_stored_counted_and_kept(tmp_path):
    emb = layer("pq", rotate=True, padding_idx=5)
    before = emb.freeze()
    emb.quantise()
    assert torch.equal(before(IDS), emb(IDS))
    assert emb(IDS)[5].eq(0).all()
    rotation = emb.rotation.clone()
    optimizer = torch.optim.Adam([p for p in emb.parameters() if p.requires_grad], 0.1)
    emb(IDS).square().sum().backward()
    optimizer.step()
    assert torch.equal(emb.rotation, rotation)
    frozen = emb.freeze()
    assert type(frozen) is embeddings.RotatedEmbedding
    assert torch.equal(frozen(IDS), emb(IDS))
    assert frozen.nbytes == emb.frozen_nbytes == layer("pq").frozen_nbytes + 4 * E * E
    shape = layer("pq", rotate=True, padding_idx=5)
    again = load(save(frozen, tmp_path / "frozen.safetensors"), into=shape.freeze())
    for other in (again, copy.deepcopy(frozen), load(save(emb, tmp_path / "emb.safetensors"))):
        assert torch.equal(other(IDS), emb(IDS))
    frozen.reset_parameters()
    assert torch.equal(frozen(IDS), frozen.embedding(IDS))


def test_a_plan_counts_the_rotation_and_few_bits_leave_it_as_it_is():
    plan = memcom.plan("pq", 3000, 64, ratio=16, rotate=True)
    assert plan.build().freeze().nbytes == plan.nbytes <= 4 * 3000 * 64 / 16
    with pytest.raises(memcom.BudgetError, match=r"a rotation of 4 \* 64\^2 bytes"):
        memcom.plan("pq", 300, 64, ratio=16, rotate=True)
    emb = layer("pq", rotate=True, bits=8, rounding=0.5)
    frozen = emb.freeze()
    assert frozen.nbytes == emb.frozen_nbytes
    assert frozen.rotation.dtype == torch.float32


def test_codewords_of_a_rotated_layer_are_read_by_compiled_kernels():
    if not kernels.warm_up():
        pytest.skip("needs numba")
    ids = torch.randint(2000, (3000,), generator=torch.Generator().manual_seed(0))
    emb = layer("pq", n=2000, rotate=True)
    assert kernels.explain(emb, ids).name == "compiled"
    emb.quantise()
    assert kernels.explain(emb, ids).name == "plain"
    assert kernels.explain(emb.codebook, ids).name == "compiled"
    frozen = emb.freeze()
    with kernels.plain():
        expected = emb(ids)
        assert torch.equal(frozen(ids), expected)
        (wanted,) = torch.autograd.grad(expected.square().sum(), [emb.codebook.values])
    torch.testing.assert_close(emb(ids), expected)
    (found,) = torch.autograd.grad(emb(ids).square().sum(), [emb.codebook.values])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_are_coded_alike(name, dtype):
    emb = layer(name, dtype=dtype)
    frozen = emb.freeze()
    assert frozen.values.dtype == dtype
    rounded = layer(name)
    with torch.no_grad():
        rounded.table.copy_(emb.table)
    same = frozen.addresses(IDS)["values"] == rounded.freeze().addresses(IDS)["values"]
    assert same.float().mean() > 0.95
