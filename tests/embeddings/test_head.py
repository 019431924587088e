from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom

N, E, K = 300, 16, 20


def layer(**common) -> memcom.HeadEmbedding:
    torch.manual_seed(0)
    return memcom.build("memcom", N, E, ratio=4, head=K, **common)


def test_private_rows_then_the_tail():
    emb = layer()
    with torch.no_grad():
        emb.tail.multiplier.normal_()
    s = {name: t.numpy() for name, t in emb.state_dict().items()}
    m, rest = emb.tail.num_buckets, np.arange(N - K)
    tail = s["tail.table"][rest % m] * s["tail.multiplier"]
    np.testing.assert_allclose(emb.materialize().numpy(), np.vstack([s["private"], tail]))
    assert (emb.num_embeddings, emb.tail.num_embeddings) == (N, N - K)


@pytest.mark.parametrize("ratio", [2, 4, 8])
@pytest.mark.parametrize("name", ["memcom", "qr", "hash", "low-rank", "dpq"])
def test_the_budget_covers_head_and_tail(name, ratio):
    n = 3000
    plan = memcom.plan(name, n, E, ratio=ratio, head=K)
    emb = plan.build()
    assert plan.nbytes == emb.frozen_nbytes == emb.freeze().nbytes
    assert emb.freeze().nbytes == 4 * K * E + emb.tail.freeze().nbytes
    assert plan.nbytes <= 4 * n * E / ratio
    assert plan.arguments["head"] == K


def test_the_error_names_the_head():
    with pytest.raises(memcom.BudgetError, match="beside 100 private rows"):
        memcom.plan("memcom", N, E, ratio=12, head=100)


@pytest.mark.parametrize("head", [-1, N])
def test_a_senseless_head_is_refused(head):
    with pytest.raises(ValueError, match=rf"head must be >= 0 and <= {N - 1}, got {head}"):
        memcom.plan("memcom", N, E, ratio=4, head=head)


def test_a_head_on_the_command_line():
    name, options = memcom.parse_spec("memcom(head=20,bits=8)")
    plan = memcom.plan(name, N, E, ratio=6, **options)
    assert plan.nbytes <= 4 * N * E / 6
    assert "head=20, bits=8" in str(plan)


@pytest.mark.parametrize("padding_idx", [3, K + 3, -1])
def test_padding_in_either_part(padding_idx):
    emb = layer(padding_idx=padding_idx)
    ids = torch.tensor([padding_idx % N, 0, K])
    vectors = emb(ids)
    assert torch.equal(vectors[0], torch.zeros(E))
    assert (vectors[1:] != 0).all()
    vectors[0].sum().backward()
    assert all((p.grad == 0).all() for p in emb.parameters())


def test_each_id_trains_its_own_part_only():
    emb = layer()
    emb(torch.tensor([5])).sum().backward()
    assert emb.private.grad.abs().sum(1).nonzero().flatten().tolist() == [5]
    assert (emb.tail.table.grad == 0).all()
    emb.zero_grad()
    emb(torch.tensor([K + 5])).sum().backward()
    assert (emb.private.grad == 0).all()
    assert emb.tail.multiplier.grad.abs().sum(1).nonzero().flatten().tolist() == [5]


def test_the_tail_is_asked_for_its_own_ids_only():
    # A procedure that counts lookups would else take the rarest ids for the most frequent.
    emb = layer()
    asked = []
    emb.tail.register_forward_pre_hook(lambda _, arguments: asked.append(arguments[0]))
    ids = torch.tensor([[K + 7, 0, K - 1], [N - 1, K, K + 7]])
    vectors = emb(ids)
    assert torch.cat(asked).tolist() == [7, N - 1 - K, 0, 7]
    assert emb(ids[0, 1]).shape == (E,)
    graph = torch.export.export(emb, (ids,)).module()  # where shapes are fixed
    assert torch.equal(graph(ids), vectors)


def test_sparse_gradients_equal_dense_ones():
    dense, sparse = layer(), layer(sparse=True)
    for emb in (dense, sparse):
        emb(torch.arange(0, N, 7)).square().sum().backward()
    for a, b in zip(dense.parameters(), sparse.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad.to_dense())


def test_addresses_tell_head_and_tail_apart():
    emb = memcom.HeadEmbedding(memcom.HashingTrickEmbedding(N - K, E, num_buckets=7, seed=None), K)
    ids = torch.arange(N)
    found = emb.addresses(ids)
    assert torch.equal(found["head"], ids.clamp(max=K))
    assert torch.equal(found["tail.table"][K:], (ids[K:] - K) % 7)
    assert found["tail.table"].max() < 7
    pairs = torch.stack(list(found.values()), 1).unique(dim=0)
    assert len(pairs) == K + 7 == len(emb.materialize().unique(dim=0))


def test_reset_gives_every_part_the_same_variance():
    emb = memcom.build("qr", 5000, 32, ratio=4, head=500)
    emb.reset_parameters(std=0.5)
    table = emb.materialize()
    assert table[:500].std().item() == pytest.approx(0.5, rel=0.05)
    assert table[500:].std().item() == pytest.approx(0.5, rel=0.1)


def test_meta_then_reset_is_the_layer_itself():
    real, empty = layer(), memcom.build("memcom", N, E, ratio=4, head=K, device="meta")
    assert empty.nbytes == real.nbytes
    empty = empty.to_empty(device="cpu")
    torch.manual_seed(0)
    empty.reset_parameters()
    for name, tensor in real.state_dict().items():
        assert torch.equal(empty.state_dict()[name], tensor), name


def test_compiles_and_exports():
    emb = layer(padding_idx=3).eval()
    ids = torch.tensor([[0, 3, K], [N - 1, 7, 50]])
    compiled = torch.compile(emb, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(ids), emb(ids))
    program = torch.export.export(emb, (ids,)).module()
    torch.testing.assert_close(program(ids), emb(ids))
