from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks import (
    Prior,
    TextClassifier,
    TextExamples,
    accuracy,
    fit_supervised,
    predict,
)
from tests.tasks.data import texts


def score(logits: torch.Tensor, label: torch.Tensor) -> float:
    return float(accuracy(logits, label).mean())


def classifier(name: str = "full") -> TextClassifier:
    torch.manual_seed(0)
    budget = {} if name == "full" else {"ratio": 2}
    table = memcom.build(name, 120, 8, sparse=True, **budget)
    table.reset_parameters(0.1)
    return TextClassifier(table, 4)


def fit(model: TextClassifier | Prior, seed: int = 0, epochs: int = 8) -> None:
    train, valid = (TextExamples.of(texts(), split) for split in ("train", "valid"))
    options = {"learning_rate": 3e-2, "batch_size": 32, "epochs": epochs}
    fit_supervised(model, train, valid, score, seed=seed, **options)


def test_logits_are_a_linear_map_of_the_mean_of_composed_rows() -> None:
    table = memcom.MEmComEmbedding(50, 4, num_buckets=7)
    model = TextClassifier(table, 3)
    tokens, offsets = torch.tensor([3, 40, 3, 9]), torch.tensor([0, 3, 3, 4])
    rows = table.materialize().numpy()
    means = np.stack([rows[[3, 40, 3]].mean(0), np.zeros(4), rows[9]])
    linear = model.tail[0]
    expected = means @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    np.testing.assert_allclose(model(tokens, offsets).detach(), expected, rtol=1e-5, atol=1e-6)


def test_texts_are_cut_after_their_first_tokens() -> None:
    data = texts()
    short = TextExamples.of(data, "valid", max_tokens=5)
    rows = np.flatnonzero(data.split == 1)
    expected = [data.tokens[data.offsets[r] : data.offsets[r + 1]][:5].tolist() for r in rows]
    tokens, offsets = short.take(torch.arange(len(rows)))
    assert [tokens[a:b].tolist() for a, b in pairwise(offsets.tolist())] == expected
    assert short.label.tolist() == data.label[rows].tolist()


@pytest.mark.parametrize("name", ["full", "memcom"])
def test_planted_classes_are_found_where_the_prior_finds_none(name: str) -> None:
    test = TextExamples.of(texts(), "test")
    model, prior = classifier(name), Prior(TextExamples.of(texts(), "train").label, 4)
    for each in (model, prior):
        fit(each)
    assert score(predict(model, test), test.label) > 2 * score(predict(prior, test), test.label)


def test_one_seed_gives_one_model_and_another_another() -> None:
    models = [classifier() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fit(model, seed, epochs=2)
    tables = [model.bag.embedding.table for model in models]
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


def test_a_token_that_no_training_text_has_is_never_changed() -> None:
    data = texts()
    data = replace(data, tokens=np.where(data.tokens == 7, 8, data.tokens))
    model = classifier()
    before = model.bag.embedding.table.detach().clone()
    train = TextExamples.of(data, "train")
    fit_supervised(model, train, train, score, epochs=2)
    changed = (model.bag.embedding.table != before).any(1)
    assert changed.tolist() == np.isin(np.arange(120), train.texts.items).tolist()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"num_classes.*1"):
        TextClassifier(memcom.build("full", 4, 2), 1)
    with pytest.raises(ValueError, match=r"max_tokens.*0"):
        TextExamples.of(texts(), "train", max_tokens=0)
