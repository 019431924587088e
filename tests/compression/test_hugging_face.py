"""Models of Hugging Face, tiny and made at random: ties, files, and what is refused."""

from __future__ import annotations

import pytest
import torch

import memcom
from memcom.compression import SharedHead, register_with_transformers

transformers = pytest.importorskip("transformers", minversion="5.0")
N, E = 500, 16
IDS = torch.randint(N, (2, 7), generator=torch.Generator().manual_seed(2))


def gpt2():
    sizes = {"n_embd": E, "n_layer": 1, "n_head": 2, "n_positions": 32}
    config = transformers.GPT2Config(vocab_size=N, bos_token_id=1, eos_token_id=2, **sizes)
    return transformers.GPT2LMHeadModel(config).eval()


def bert():
    sizes = {"hidden_size": E, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position_embeddings": 32}
    return transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=N, **sizes)).eval()


def replaced(make, tied, method="memcom"):
    return memcom.replace(make(), method, ratio=3, min_rows=100, tied=tied).model


def compressed(make, tied):
    return memcom.compress(
        make(), ratio=3, method="low-rank(bits=8)", min_rows=100, tied=tied
    ).model


models = pytest.mark.parametrize("make", [gpt2, bert])


@models
def test_a_tied_head_is_refused_or_shared(make):
    model = make()
    with pytest.raises(ValueError, match=r"is tied to (lm_head|cls\.predictions\.decoder)\.weight"):
        memcom.replace(model, "qr", ratio=8, min_rows=100)
    small = memcom.replace(model, "qr", ratio=8, min_rows=100, tied="share").model
    saved = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in small.parameters())
    assert saved == N * E - sum(p.numel() for p in small.get_input_embeddings().parameters())
    assert small.get_output_embeddings().embedding is small.get_input_embeddings()
    assert float(small.get_input_embeddings().weight.detach().std()) == pytest.approx(0.02, rel=0.2)
    small(IDS, labels=IDS).loss.backward()
    assert all(p.grad is not None for p in small.get_input_embeddings().parameters())


@models
@pytest.mark.parametrize("tied", ["share", "keep"])
def test_ties_and_weights_can_be_made_again(make, tied):
    model = replaced(make, tied)
    expected = model(IDS).logits
    model.tie_weights()
    model.init_weights()
    assert isinstance(model.get_input_embeddings(), memcom.MEmComEmbedding)
    assert isinstance(model.get_output_embeddings(), SharedHead) == (tied == "share")
    if make is bert:
        assert model.cls.predictions.decoder.bias is model.cls.predictions.bias
    assert torch.equal(model(IDS).logits, expected)


@models
def test_other_sizes_are_refused_and_made_by_the_layer(make):
    model = replaced(make, "share", "qr")
    with pytest.raises(TypeError, match=r"QREmbedding.*use a different resize function"):
        model.resize_token_embeddings(N + 20)
    larger = model.get_input_embeddings().resize_num_embeddings(N + 20)
    head = model.get_output_embeddings()
    bias = None if head.bias is None else torch.nn.Parameter(torch.zeros(N + 20))
    before = model(IDS).logits
    model.set_input_embeddings(larger)
    model.set_output_embeddings(SharedHead(larger, bias))
    assert model(IDS).logits.shape == (*IDS.shape, N + 20)
    torch.testing.assert_close(model(IDS).logits[..., :N], before)


@models
@pytest.mark.parametrize("tied", ["share", "keep"])
@pytest.mark.parametrize("way", [replaced, compressed])
def test_what_is_saved_is_loaded(make, tied, way, tmp_path):
    register_with_transformers()
    register_with_transformers()
    model = way(make, tied)
    for folder in (tmp_path / "one", tmp_path / "two"):  # what was loaded is saved again
        model.save_pretrained(folder)
        loaded = type(model).from_pretrained(folder)
        assert torch.equal(loaded(IDS).logits, model(IDS).logits)
        states = loaded.state_dict(), model.state_dict()
        assert {k: v.dtype for k, v in states[0].items()} == {
            k: v.dtype for k, v in states[1].items()
        }
        model = loaded
    model.train()(IDS, labels=IDS).loss.backward()
    model.double()


def test_a_model_without_the_head_and_one_around_the_model_load_too(tmp_path):
    register_with_transformers()
    model = replaced(gpt2, "share")
    model.save_pretrained(tmp_path / "head")
    base = transformers.GPT2Model.from_pretrained(tmp_path / "head")
    assert torch.equal(base(IDS)[0], model.transformer(IDS)[0])
    other = bert()
    other.config.quantization_config = model.config.quantization_config
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"BertForMaskedLM has no module 'transformer\.wte'"):
        transformers.BertForMaskedLM.from_pretrained(tmp_path / "other")


def test_a_process_that_was_not_told_says_what_it_misses(tmp_path, monkeypatch):
    from transformers.quantizers import auto

    said = []
    monkeypatch.setattr(auto.logger, "warning", said.append)
    for mapping in (auto.AUTO_QUANTIZER_MAPPING, auto.AUTO_QUANTIZATION_CONFIG_MAPPING):
        monkeypatch.delitem(mapping, "memcom", raising=False)
    replaced(gpt2, "share").save_pretrained(tmp_path)
    loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert isinstance(loaded.get_input_embeddings(), torch.nn.Embedding)
    assert "Unknown quantization type, got memcom" in said[0]
