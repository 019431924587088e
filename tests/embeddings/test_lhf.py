from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom

N, E, M = 200, 12, 30
IDS = torch.arange(N)


def test_the_remainder_until_a_map_is_learned():
    layer = memcom.LearnedHashEmbedding(N, E, num_buckets=M)
    assert torch.equal(layer.materialize(), layer.table.detach()[IDS % M])


def test_the_map_says_which_row():
    layer = memcom.LearnedHashEmbedding(N, E, num_buckets=M)
    rows = torch.randint(M, (N,), generator=torch.Generator().manual_seed(0))
    layer.set_map(rows)
    np.testing.assert_array_equal(
        layer.materialize().numpy(), layer.table.detach().numpy()[rows.numpy()]
    )
    assert torch.equal(layer.addresses(IDS)["table"], rows)
    layer.reset_parameters()
    assert torch.equal(layer.addresses(IDS)["table"], IDS % M)


@pytest.mark.parametrize(("m", "bits"), [(1, 1), (2, 1), (30, 5), (32, 5), (33, 6), (200, 8)])
def test_the_map_costs_log2_m_bits_an_id(m, bits):
    layer = memcom.LearnedHashEmbedding(N, E, num_buckets=m)
    assert layer.nbytes == 4 * m * E + N * bits // 8


@pytest.mark.parametrize("bad", [-1, M])
def test_a_map_that_points_nowhere_is_refused(bad):
    layer = memcom.LearnedHashEmbedding(N, E, num_buckets=M)
    rows = IDS % M
    rows[7] = bad
    with pytest.raises(ValueError, match=rf"rows in \[0, 30\), got {bad}"):
        layer.set_map(rows)
    with pytest.raises(ValueError, match=r"shape \(200,\), got \(3,\)"):
        layer.set_map(torch.tensor([0, 1, 2]))


def planted(kinds: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pre-embeddings of ids of a few kinds, Zipf's counts, and the kinds."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(kinds, (N,), generator=generator)
    centres = 20 * torch.randn(kinds, 3, generator=generator)
    noise = torch.randn(N, 3, generator=generator)
    return centres[kind] + 0.1 * noise, 1000 // (IDS + 1), kind


def test_hot_ids_are_alone_and_the_rest_share_with_their_like():
    pre, counts, kind = planted()
    rows = memcom.learn_map(pre, counts, M, generator=torch.Generator().manual_seed(1))
    hot = M // 2
    assert torch.equal(rows[:hot], torch.arange(hot))
    assert rows[hot:].min() >= hot
    assert rows.max() < M
    for row in rows[hot:].unique():
        assert kind[hot:][rows[hot:] == row].unique().numel() == 1


def test_hot_is_by_count_whatever_the_order_of_ids():
    pre, counts, _ = planted()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    rows = memcom.learn_map(pre[order], counts[order], M, num_hot=4)
    assert torch.equal(rows[order.argsort()][:3], torch.arange(3))  # counts 1000, 500, 333


def test_frequency_alone_tells_ids_apart():
    counts = torch.tensor([1000] * 5 + [1] * 5)
    rows = memcom.learn_map(torch.zeros(10, 2), counts, 2, num_hot=0)
    assert rows[:5].unique().numel() == rows[5:].unique().numel() == 1
    assert rows[0] != rows[9]


def test_the_extremes_of_hot_and_cold():
    pre, counts, _ = planted()
    everything = memcom.learn_map(pre, counts, N, num_hot=N)
    assert everything.unique().numel() == N
    one = memcom.learn_map(pre, counts, 1)
    assert (one == 0).all()
    with pytest.raises(ValueError, match="leave a row for the other ids: < 30, got 30"):
        memcom.learn_map(pre, counts, M, num_hot=M)
    with pytest.raises(ValueError, match=r"got \(200, 3\) and \(7,\)"):
        memcom.learn_map(pre, counts[:7], M)


def test_a_learned_map_beats_the_remainder_on_planted_kinds():
    pre, counts, kind = planted()
    wanted = torch.randn(5, E, generator=torch.Generator().manual_seed(4))[kind]

    def left_over(rows: torch.Tensor) -> float:
        # The best any table can do with a map: the mean of each bucket.
        means = torch.zeros(M, E).index_add_(0, rows, wanted)
        means = means / rows.bincount(minlength=M).clamp(min=1).unsqueeze(1)
        return (means[rows] - wanted).square().mean().item()

    learned = memcom.learn_map(pre, counts, M, generator=torch.Generator().manual_seed(1))
    assert left_over(learned) < 1e-6 < left_over(IDS % M)


def test_a_map_in_front_of_any_compressor():
    inner = memcom.MEmComEmbedding(50, E, num_buckets=7)
    rows = torch.randint(50, (N,), generator=torch.Generator().manual_seed(0))
    emb = memcom.MappedEmbedding(inner, rows, padding_idx=3)
    table = inner.materialize()[rows]
    table[3] = 0
    assert torch.equal(emb.materialize(), table)
    assert emb.nbytes == inner.nbytes + N * 6 // 8
    assert torch.equal(emb.addresses(IDS)["inner.multiplier"], rows)
    emb.reset_parameters(std=2.0)
    assert torch.equal(emb.rows(IDS), rows)


def test_a_map_over_few_bits_and_a_head():
    inner = memcom.build("memcom", 50, E, ratio=3, head=5)
    emb = memcom.quantize(memcom.MappedEmbedding(inner, IDS % 50), 8)
    assert emb.nbytes == memcom.quantize(inner, 8).nbytes + N * 6 // 8
    frozen = memcom.MappedEmbedding(memcom.build("dpq", 50, E, ratio=2), IDS % 50).freeze()
    assert isinstance(frozen.inner, memcom.CodebookEmbedding)
    assert torch.equal(frozen.rows(IDS), IDS % 50)
