"""A layer whose vocabulary grows: the old ids keep their vectors, or the reason is given."""

from __future__ import annotations

import pytest
import torch

import memcom
from memcom.addresses import MAX_NUM_EMBEDDINGS
from tests.embeddings.cases import SPECS, make

N = make("full").num_embeddings
GROWN = (
    "full hash double-hash bloom memcom memcom-bias qr low-rank truncate small-dim robe dhe int8"
)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("more", [1, 37])
def test_old_ids_keep_their_vectors_or_the_method_says_why_not(spec, more):
    layer = make(spec, padding_idx=3)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    try:
        larger = layer.resize_num_embeddings(N + more)
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor, before[name])  # the layer itself is as it was
    if refused:
        assert spec not in GROWN.split(), refused
        assert str(layer.num_embeddings) in refused or str(N + more) in refused
        return
    old = torch.arange(N)
    assert type(larger) is type(layer)
    assert (larger.num_embeddings, larger.padding_idx) == (N + more, 3)
    assert torch.equal(larger(old), layer(old))
    new = larger(torch.arange(N, N + more))
    assert new.isfinite().all()
    assert new.shape == (more, layer.embedding_dim)
    with pytest.raises(IndexError, match=str(N + more)):
        larger(torch.tensor([N + more]))
    with pytest.raises(IndexError, match=str(N)):
        layer(torch.tensor([N]))


@pytest.mark.parametrize("spec", GROWN.split())
def test_common_methods_grow(spec):
    larger = make(spec).resize_num_embeddings(2 * N)
    assert larger.num_embeddings == 2 * N
    larger(torch.arange(2 * N)).sum().backward()
    assert any(p.grad is not None for p in larger.parameters())


def test_ids_beyond_the_numbers_that_digits_can_write_are_refused():
    layer = memcom.get("mixed-radix")(100, 8, radices=[10, 10])
    with pytest.raises(ValueError, match=r"MixedRadixEmbedding of 100 ids .* 101: .*101"):
        layer.resize_num_embeddings(101)
    assert memcom.get("mixed-radix")(90, 8, radices=[10, 10]).resize_num_embeddings(100)


def test_a_code_whose_length_follows_the_ids_is_refused():
    layer = memcom.get("bch")(100, 8, block_bits=2)
    assert layer.resize_num_embeddings(256).num_embeddings == 256  # four blocks still
    with pytest.raises(ValueError, match=r"cannot be resized to 257: .*other tables"):
        layer.resize_num_embeddings(257)


def test_a_quotient_table_grows_by_its_last_rows_only():
    layer = memcom.QREmbedding(100, 8, num_remainders=10)
    larger = layer.resize_num_embeddings(155)
    assert larger.quotient.shape == (16, 8)
    assert torch.equal(larger.quotient[:10], layer.quotient)
    assert torch.equal(larger.remainder, layer.remainder)


@pytest.mark.parametrize("number", [N - 1, 0, -1, MAX_NUM_EMBEDDINGS + 1])
def test_a_number_below_the_present_one_is_refused(number):
    with pytest.raises(ValueError, match=rf"num_embeddings must be >= {N} .*got {number}"):
        make("hash").resize_num_embeddings(number)
    with pytest.raises(TypeError, match=r"num_embeddings must be an int, got 1\.5"):
        make("hash").resize_num_embeddings(1.5)


def test_frozen_and_meta_layers_are_refused():
    for frozen in (make("int8").freeze(), make("dpq").freeze(), memcom.quantize(make("memcom"))):
        with pytest.raises(ValueError, match="cannot be resized"):
            frozen.resize_num_embeddings(2 * N)
    with pytest.raises(ValueError, match="meta"):
        make("hash", device="meta").resize_num_embeddings(2 * N)


def test_dtype_training_mode_and_padding_stay():
    layer = make("memcom", padding_idx=-1).to(torch.bfloat16).eval()
    larger = layer.resize_num_embeddings(N + 5)
    assert larger.table.dtype == torch.bfloat16
    assert not larger.training
    assert larger.padding_idx == N - 1
    assert not larger(torch.tensor([N - 1])).any()
    assert larger(torch.tensor([N + 4])).any()


@pytest.mark.parametrize("spec", ["hash(head=20)", "memcom(head=20,bits=8)", "qr(bits=4)"])
def test_wrapped_layers_grow_inside(spec):
    layer = make(spec)
    larger = layer.resize_num_embeddings(2 * N)
    assert torch.equal(larger(torch.arange(N)), layer(torch.arange(N)))
    assert larger.freeze().num_embeddings == 2 * N
