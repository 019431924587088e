from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch

import memcom

N, E = 60, 10
IDS = torch.arange(N)


def drawn(chunk_dim: int, density: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """All chunks of a table, and which are kept; the first, last and another row are empty."""
    generator = torch.Generator().manual_seed(0)
    chunks = -(-E // chunk_dim)
    kept = torch.rand(N, chunks, generator=generator) < density
    kept[[0, 30, N - 1]] = False
    kept[7] = True
    return torch.randn(N, chunks, chunk_dim, generator=generator), kept


def dense(chunks: torch.Tensor, kept: torch.Tensor) -> np.ndarray:
    return (chunks * kept.unsqueeze(-1)).flatten(1)[:, :E].numpy()


@pytest.mark.parametrize("chunk_dim", [1, 2, 4, 10])
def test_kept_chunks_are_in_their_places(chunk_dim):
    chunks, kept = drawn(chunk_dim)
    emb = memcom.CSREmbedding.from_chunks(chunks[kept], kept, E)
    np.testing.assert_array_equal(emb.materialize().numpy(), dense(chunks, kept))


@pytest.mark.parametrize("chunk_dim", [1, 3])
def test_bytes_by_hand(chunk_dim):
    chunks, kept = drawn(chunk_dim)
    total, columns = int(kept.sum()), kept.shape[1]
    emb = memcom.CSREmbedding.from_chunks(chunks[kept], kept, E)
    column_bits = int(np.ceil(np.log2(columns)))
    offset_bits = int(np.ceil(np.log2(total + 1)))
    packed = -(-total * column_bits // 8) + -(-(N + 1) * offset_bits // 8)
    assert emb.nbytes == 4 * total * chunk_dim + packed


def test_columns_and_offsets_are_those_of_scipy():
    from memcom.kernels.bits import bits_for, unpack

    chunks, kept = drawn(1)
    emb = memcom.CSREmbedding.from_chunks(chunks[kept], kept, E)
    oracle = scipy.sparse.csr_matrix(dense(chunks, kept))
    total = int(kept.sum())
    np.testing.assert_array_equal(emb.values.detach()[:, 0].numpy(), oracle.data)
    columns = unpack(emb.columns, torch.arange(total), bits_for(E))
    np.testing.assert_array_equal(columns.numpy(), oracle.indices)
    offsets = unpack(emb.offsets, torch.arange(N + 1), bits_for(total + 1))
    np.testing.assert_array_equal(offsets.numpy(), oracle.indptr)


def test_the_gradient_reaches_the_values_of_the_row_only():
    chunks, kept = drawn(1)
    emb = memcom.CSREmbedding.from_chunks(chunks[kept], kept, E)
    weight = torch.arange(1.0, E + 1)
    (emb(torch.tensor([9, 9])) * weight).sum().backward()
    expected = torch.zeros(N, E)
    expected[9] = 2 * weight
    assert torch.equal(emb.values.grad[:, 0], expected[kept])


def test_a_lookup_reads_no_more_than_the_longest_row():
    chunks, kept = drawn(1, density=0.1)
    kept[7] = False
    emb = memcom.CSREmbedding.from_chunks(chunks[kept], kept, E)
    assert emb.longest == int(kept.sum(1).max()) < E


def test_a_table_of_nothing():
    kept = torch.zeros(N, E, dtype=torch.bool)
    emb = memcom.CSREmbedding.from_chunks(torch.empty(0, 1), kept, E)
    assert (emb.materialize() == 0).all()


def test_empty_rows_are_one_address_and_all_others_their_own():
    chunks, kept = drawn(2)
    rows = memcom.CSREmbedding.from_chunks(chunks[kept], kept, E).addresses(IDS)["rows"]
    np.testing.assert_array_equal(rows.numpy(), np.where(kept.any(1), IDS, N))


def test_saved_and_loaded_with_its_places(tmp_path):
    from memcom.export import load, save

    chunks, kept = drawn(1, density=0.1)
    emb = memcom.CSREmbedding.from_chunks(chunks[kept], kept, E)
    loaded = load(save(emb, tmp_path / "rows.safetensors"))
    assert torch.equal(loaded.materialize(), emb.materialize())


def test_drawn_directly_it_keeps_chunks_at_random():
    emb = memcom.CSREmbedding(1000, 16, num_chunks=4000)
    found = emb.materialize() != 0
    assert int(found.sum()) == 4000
    assert found.sum(0).float().std() < 3 * 250**0.5
    other = memcom.CSREmbedding(1000, 16, num_chunks=4000, seed=1).materialize() != 0
    assert not torch.equal(found, other)
    again = memcom.CSREmbedding(1000, 16, num_chunks=4000).materialize() != 0
    assert torch.equal(found, again)


def test_chunks_may_be_quantised():
    emb = memcom.CSREmbedding(500, 16, num_chunks=600, chunk_dim=8)
    packed = memcom.quantize(emb, 8)
    assert packed.nbytes == emb.nbytes - 600 * 8 * 4 + 600 * (8 + 4)
    largest = emb.materialize().abs().max()
    assert (packed.materialize() - emb.materialize()).abs().max() < largest / 100


def test_chunks_that_do_not_fit_are_refused():
    chunks, kept = drawn(2)
    with pytest.raises(ValueError, match="chunks do not fit"):
        memcom.CSREmbedding.from_chunks(chunks[kept][1:], kept, E)
