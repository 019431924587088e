from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom

N, E = 60, 7
IDS = torch.arange(N)


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A table and widths, among them empty and full rows, also at both ends."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(0, E + 1, (N,), generator=generator)
    sizes[:3] = torch.tensor([0, E, 0])
    sizes[-2:] = torch.tensor([E, 0])
    return torch.randn(N, E, generator=generator), sizes


def test_rows_are_cut_to_their_widths():
    table, sizes = drawn()
    emb = memcom.JaggedEmbedding.from_table(table, sizes, padding_idx=1, sparse=True)
    expected = np.where(np.arange(E) < sizes.numpy()[:, None], table.numpy(), 0)
    expected[1] = 0
    np.testing.assert_array_equal(emb.materialize().numpy(), expected)
    assert torch.equal(emb.sizes_of(IDS), sizes)
    assert (emb.padding_idx, emb.sparse) == (1, True)


def test_bytes_by_hand():
    table, sizes = drawn()
    total = int(sizes.sum())
    emb = memcom.JaggedEmbedding.from_table(table, sizes)
    bits = int(np.ceil(np.log2(total + 1)))
    assert emb.nbytes == 4 * total + -(-(N + 1) * bits // 8)


def test_the_gradient_reaches_the_values_of_the_row_only():
    table, sizes = drawn()
    emb = memcom.JaggedEmbedding.from_table(table, sizes)
    starts = np.r_[0, np.cumsum(sizes.numpy())]
    i = int(sizes[5:].argmax()) + 5
    emb(torch.tensor(i)).sum().backward()
    expected = np.zeros(int(sizes.sum()))
    expected[starts[i] : starts[i + 1]] = 1
    np.testing.assert_array_equal(emb.values.grad[:, 0].numpy(), expected)


def test_empty_rows_are_one_address_and_all_others_their_own():
    table, sizes = drawn()
    rows = memcom.JaggedEmbedding.from_table(table, sizes).addresses(IDS)["rows"]
    np.testing.assert_array_equal(rows.numpy(), np.where(sizes > 0, IDS, N))


def test_a_table_of_nothing():
    emb = memcom.JaggedEmbedding.from_table(torch.ones(N, E), torch.zeros(N, dtype=torch.int64))
    assert (emb.materialize() == 0).all()
    assert emb.values.shape == (1, 1)


def test_saved_and_loaded_with_its_widths(tmp_path):
    from memcom.export import load, save

    table, sizes = drawn()
    emb = memcom.JaggedEmbedding.from_table(table, sizes)
    loaded = load(save(emb, tmp_path / "rows.safetensors"))
    assert torch.equal(loaded.materialize(), emb.materialize())


def test_drawn_directly_widths_fall_with_the_rank():
    emb = memcom.JaggedEmbedding(N, E, num_values=100, alpha=1.0)
    sizes = emb.sizes_of(IDS)
    assert int(sizes.sum()) == 100
    assert sizes[0] == E
    assert (sizes.diff() <= 0).all()
    flat = memcom.JaggedEmbedding(N, E, num_values=120, alpha=0).sizes_of(IDS)
    assert flat.unique().tolist() == [2]


@pytest.mark.parametrize("sizes", [torch.full((N,), E + 1), torch.full((N,), -1), torch.ones(3)])
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(ValueError, match=r"sizes must be \(60,\) in \[0, 7\]"):
        memcom.JaggedEmbedding.from_table(torch.ones(N, E), sizes)
