"""`memcom.EmbeddingBag` against `torch.nn.EmbeddingBag` over the materialised table."""

from __future__ import annotations

import pytest
import torch

import memcom
from tests.embeddings.cases import EMBEDDING_DIM, NUM_EMBEDDINGS, make, some_ids

modes = pytest.mark.parametrize("mode", ["sum", "mean", "max"])


def torch_bag(layer, mode, **options):
    table = layer.materialize()
    return torch.nn.EmbeddingBag.from_pretrained(
        table, mode=mode, padding_idx=layer.padding_idx, **options
    )


@modes
@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("last", [False, True])
def test_offsets_empty_bags_and_padding_mean_what_they_mean_in_torch(mode, padding_idx, last):
    layer = make("memcom-bias", padding_idx=padding_idx)
    ids = some_ids(12)
    ids[[1, 5, 6]] = 3
    offsets = torch.tensor([0, 4, 4, 5, 7, 12] if last else [0, 4, 4, 5, 7])
    ours = memcom.EmbeddingBag(layer, mode, include_last_offset=last)(ids, offsets)
    theirs = torch_bag(layer, mode, include_last_offset=last)(ids, offsets)
    torch.testing.assert_close(ours, theirs)


@modes
def test_bags_of_fixed_length(mode):
    layer = make("qr", padding_idx=3)
    ids = some_ids(5, 6)
    ids[2] = 3  # a bag of nothing but padding
    ours = memcom.EmbeddingBag(layer, mode)(ids)
    assert ours.shape == (5, EMBEDDING_DIM)
    torch.testing.assert_close(ours, torch_bag(layer, mode)(ids))


def test_pooling_comes_after_composing():
    # Pooling each table of a product by itself is right for bags of one id only.
    layer = memcom.QREmbedding(100, 4, num_remainders=10, operation="mult")
    ids = torch.tensor([[3, 47]])
    pooled = memcom.EmbeddingBag(layer, "sum")(ids)
    torch.testing.assert_close(pooled, layer(ids).sum(1))
    tables_first = layer.remainder[ids % 10].sum(1) * layer.quotient[ids // 10].sum(1)
    assert not torch.allclose(pooled, tables_first)


def test_a_sample_weight_counts_once():
    # Weighing both tables of a product would scale by the square of the weight.
    layer = make("qr")
    ids, weights = some_ids(1, 3), torch.tensor([[2.0, 0.5, -1.0]])
    pooled = memcom.EmbeddingBag(layer, "sum")(ids, per_sample_weights=weights)
    torch.testing.assert_close(pooled, (layer(ids) * weights.unsqueeze(-1)).sum(1))


def test_weights_need_a_sum():
    with pytest.raises(Exception, match="per_sample_weights"):
        memcom.EmbeddingBag(make("hash"), "mean")(
            some_ids(2, 3), per_sample_weights=torch.ones(2, 3)
        )


def test_int32_offsets_and_ids():
    layer = make("bch")
    ids, offsets = some_ids(6), torch.tensor([0, 2, 5])
    bag = memcom.EmbeddingBag(layer, "sum")
    assert torch.equal(bag(ids.int(), offsets.int()), bag(ids, offsets))


def test_a_bad_id_in_a_bag_is_named():
    with pytest.raises(IndexError, match=rf"{NUM_EMBEDDINGS}\b"):
        memcom.EmbeddingBag(make("memcom"))(torch.tensor([[1, NUM_EMBEDDINGS]]))


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be one of 'sum', 'mean', 'max', got 'median'"):
        memcom.EmbeddingBag(make("hash"), "median")


def test_a_bag_compiles_and_exports():
    bag = memcom.EmbeddingBag(make("memcom", padding_idx=3), "mean")
    ids = some_ids(4, 3)
    torch._dynamo.reset()
    compiled = torch.compile(bag, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(ids), bag(ids))
    program = torch.export.export(bag, (ids,)).module()
    torch.testing.assert_close(program(ids), bag(ids))
