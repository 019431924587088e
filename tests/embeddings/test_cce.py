from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.embeddings import CCESchedule
from tests.embeddings import oracle
from tests.embeddings.films import EMBEDDING_DIM, NUM_ITEMS, NUM_STEPS, held_out_loss, train

N, E, M, C = 400, 12, 9, 3


def hashed(seed: int) -> np.ndarray:
    return oracle.hashed(np.arange(N), seed)


def stored_map(layer) -> np.ndarray:
    """The map by its bits, written out as text."""
    text = "".join(format(byte, "08b")[::-1] for byte in layer.map.tolist())
    bits = (layer.num_buckets - 1).bit_length()
    codes = [int(text[k * bits : (k + 1) * bits][::-1], 2) for k in range(N * layer.num_columns)]
    return np.array(codes).reshape(N, layer.num_columns)


def make(n: int = N, m: int = M, **common) -> memcom.CCEEmbedding:
    torch.manual_seed(0)
    return memcom.CCEEmbedding(n, E, num_buckets=m, num_columns=C, **common)


def set_vectors(layer, kinds: int) -> torch.Tensor:
    """Make the layer's vectors take ``kinds`` values per column, by centres alone."""
    with torch.no_grad():
        layer.residuals.zero_()
        layer.centres.copy_(layer.centres.view(C, M, -1)[:, torch.arange(M) % kinds].flatten(0, 1))
    return layer.materialize()


def check_formula(layer) -> None:
    s = {name: t.numpy() for name, t in layer.state_dict().items()}
    cluster = stored_map(layer)
    columns = []
    for j in range(C):
        bucket = hashed(int(s["seeds"][j])) % M
        columns.append(s["centres"][j * M + cluster[:, j]] + s["residuals"][j * M + bucket])
    np.testing.assert_allclose(layer.materialize().numpy(), np.hstack(columns), atol=1e-6)


def test_two_tables_per_column():
    layer = make()
    check_formula(layer)
    np.testing.assert_array_equal(
        stored_map(layer), np.stack([hashed(3 + j) % M for j in range(C)], 1)
    )


def test_every_byte_counts_the_map_too():
    # A known implementation stores two int64 per id and column and counts neither.
    layer = make()
    assert layer.nbytes == 4 * 2 * C * M * 4 + -(-N * C * 4 // 8) + 8 * C


def test_reclustering_gives_the_formula_again():
    layer = make()
    layer.recluster(generator=torch.Generator().manual_seed(1))
    check_formula(layer)
    assert stored_map(layer).max() < M


def test_nothing_is_lost_where_there_are_few_distinct_vectors():
    layer = make()
    before = set_vectors(layer, kinds=5)
    layer.recluster(generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer.materialize(), before, atol=1e-5, rtol=0)


def test_residuals_are_the_means_of_their_buckets():
    layer = make()
    before = layer.materialize().numpy()
    layer.recluster(generator=torch.Generator().manual_seed(1))
    cluster, width = stored_map(layer), E // C
    for j in range(C):
        left = (
            before[:, j * width : (j + 1) * width]
            - layer.centres.detach().numpy()[j * M + cluster[:, j]]
        )
        bucket = hashed(int(layer.seeds[j])) % M
        for b in range(M):
            mean = left[bucket == b].mean(0) if (bucket == b).any() else np.zeros(width)
            np.testing.assert_allclose(layer.residuals[j * M + b].detach(), mean, atol=1e-5)


@pytest.mark.parametrize("chunk", [8, 64, N])
def test_one_hash_for_all_chunks(chunk, monkeypatch):
    # A known implementation draws the hash anew in each batch, so that all batches but one are
    # clustered with residuals of buckets that no longer exist.
    whole, parts = make(), make()
    whole.recluster(generator=torch.Generator().manual_seed(2))
    chunks = parts.all_ids
    monkeypatch.setattr(parts, "all_ids", lambda: chunks(chunk))
    parts.recluster(generator=torch.Generator().manual_seed(2))
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], tensor, msg=name)


def test_reclustering_moves_vectors_less_than_hashing_anew():
    layer = make()
    before = layer.materialize()
    layer.recluster(generator=torch.Generator().manual_seed(1))
    moved = (layer.materialize() - before).square().mean()
    assert moved < 0.7 * (make(seed=99).materialize() - before).square().mean()


@pytest.mark.parametrize("n", [2, 5, 30])
def test_more_rows_than_ids_leave_no_nan(n):
    layer = make(n, n)
    before = layer.materialize()
    layer.recluster()
    assert all(t.isfinite().all() for t in (layer.centres, layer.residuals))
    torch.testing.assert_close(layer.materialize(), before, atol=1e-4, rtol=0)


def test_the_hash_changes_and_reset_restores_it():
    layer = make()
    first = {name: t.clone() for name, t in layer.state_dict().items()}
    layer.recluster()
    assert not torch.equal(layer.seeds, first["seeds"])
    torch.manual_seed(0)
    layer.reset_parameters()
    for name, tensor in first.items():
        assert torch.equal(layer.state_dict()[name], tensor), name


def test_reclustering_helps_training():
    # 200 ids of 4 kinds: each round of clustering sorts them a little better.
    ids = torch.arange(200)
    generator = torch.Generator().manual_seed(3)
    wanted = torch.randn(4, E, generator=generator)[torch.randint(4, (200,), generator=generator)]

    def trained(recluster: bool) -> float:
        layer = make(200, 16)
        for round in range(6):
            if recluster and round:
                layer.recluster(generator=generator)
            optimizer = torch.optim.Adam(layer.parameters(), 0.05)
            for _ in range(60):
                optimizer.zero_grad()
                (layer(ids) - wanted).square().mean().backward()
                optimizer.step()
        return (layer(ids) - wanted).square().mean().item()

    assert trained(True) < 0.7 * trained(False)


@pytest.mark.parametrize("dim", [16, 18, 21, 256])
def test_columns_fit_any_width(dim):
    plan = memcom.plan("cce", 3000, dim, ratio=8)
    assert dim % plan.arguments["num_columns"] == 0
    assert plan.build().nbytes == plan.nbytes <= 4 * 3000 * dim / 8


def test_it_clusters_on_time_and_not_after_the_last_step():
    emb = memcom.build("cce", 100, 8, ratio=4)
    schedule = CCESchedule(emb, every=10, last=25)
    maps = [emb.map.clone()]
    for _ in range(40):
        schedule.step(torch.arange(5))
        maps.append(emb.map.clone())
    assert schedule.history == [10, 20]
    changed = [k for k in range(1, 41) if not torch.equal(maps[k], maps[k - 1])]
    assert changed == [10, 20]


def test_moments_of_both_tables_are_forgotten_and_of_nothing_else():
    emb = memcom.build("cce", 100, 8, ratio=4)
    other = torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*emb.parameters(), *other.parameters()])
    other(emb(torch.arange(100))).sum().backward()
    optimizer.step()
    CCESchedule(emb, every=1, last=1, optimizer=optimizer).step(torch.arange(5))
    for table in (emb.centres, emb.residuals):
        assert not optimizer.state[table]["exp_avg"].any()
        assert not optimizer.state[table]["exp_avg_sq"].any()
    assert optimizer.state[other.weight]["exp_avg"].all()


def test_the_same_seed_clusters_alike():
    tables = []
    for _ in range(2):
        torch.manual_seed(0)
        emb = memcom.build("cce", 300, 8, ratio=4)
        CCESchedule(emb, every=1, last=1, seed=3).step(torch.arange(5))
        tables.append(emb.materialize())
    assert torch.equal(*tables)


@pytest.mark.slow
def test_it_learns_through_its_clusterings_on_real_data():
    torch.manual_seed(0)
    emb = memcom.build("cce", NUM_ITEMS, EMBEDDING_DIM, ratio=8)

    def make(model, optimizer):
        return CCESchedule(emb, every=40, last=160, optimizer=optimizer)

    run = train(emb, NUM_STEPS, make)
    assert run.mean_loss(-20, None) < run.mean_loss(0, 20) - 0.1
    assert held_out_loss(run.model) < held_out_loss(None) - 0.05, "popularity is as good"
