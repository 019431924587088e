from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import memcom
from memcom.data import LabelledBags, LabelledRows, load
from memcom.tasks import (
    ClickExamples,
    SupervisedOptions,
    TextExamples,
    TrainingError,
    fit_supervised,
    predict,
)
from memcom.tasks.classifiers import Prior, TextClassifier
from memcom.tasks.click_models import DCN, DLRM, FieldBias
from memcom.tasks.metrics import accuracy, auc, log_loss


def texts(num_texts: int = 400, num_tokens: int = 120, classes: int = 4) -> LabelledBags:
    """Half of a text's tokens are of its class (token mod classes), the others are anything."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, classes, num_texts)
    lengths = rng.integers(4, 12, num_texts)
    owner = np.repeat(label, lengths)
    tokens = rng.integers(0, num_tokens // classes, len(owner)) * classes + owner
    noise = rng.random(len(owner)) < 0.5
    tokens[noise] = rng.integers(0, num_tokens, noise.sum())
    return LabelledBags(
        name="planted",
        tokens=tokens.astype(np.int64),
        offsets=np.r_[0, np.cumsum(lengths)],
        num_tokens=num_tokens,
        label=label.astype(np.int64),
        num_classes=classes,
        label_names=tuple("abcd"),
        token_names=np.arange(num_tokens).astype(str),
        split=np.repeat([0, 1, 2], [num_texts - 200, 100, 100]).astype(np.int8),
        token_counts=np.zeros(num_tokens, dtype=np.int64),
    )


def hits(logits: torch.Tensor, label: torch.Tensor) -> float:
    return float(accuracy(logits, label).mean())


def less_loss(logits: torch.Tensor, label: torch.Tensor) -> float:
    return -float(log_loss(logits, label).mean())


def classifier(name: str = "full") -> TextClassifier:
    torch.manual_seed(0)
    budget = {} if name == "full" else {"ratio": 2}
    table = memcom.build(name, 120, 8, sparse=True, **budget)
    table.reset_parameters(0.1)
    return TextClassifier(table, 4)


def fit_texts(model: TextClassifier | Prior, seed: int = 0, epochs: int = 8) -> None:
    train, valid = (TextExamples.of(texts(), split) for split in ("train", "valid"))
    fit_supervised(
        model, train, valid, hits, learning_rate=3e-2, batch_size=32, epochs=epochs, seed=seed
    )


@pytest.mark.parametrize("name", ["full", "memcom"])
def test_planted_classes_are_found_where_the_prior_finds_none(name: str) -> None:
    test = TextExamples.of(texts(), "test")
    model, prior = classifier(name), Prior(TextExamples.of(texts(), "train").label, 4)
    for each in (model, prior):
        fit_texts(each)
    assert hits(predict(model, test), test.label) > 2 * hits(predict(prior, test), test.label)


def test_one_seed_gives_one_model_and_another_another() -> None:
    models = [classifier() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fit_texts(model, seed, epochs=2)
    tables = [model.bag.embedding.table for model in models]
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


def test_a_token_that_no_training_text_has_is_never_changed() -> None:
    data = texts()
    data = replace(data, tokens=np.where(data.tokens == 7, 8, data.tokens))
    model = classifier()
    before = model.bag.embedding.table.detach().clone()
    train = TextExamples.of(data, "train")
    fit_supervised(model, train, train, hits, epochs=2)
    changed = (model.bag.embedding.table != before).any(1)
    assert changed.tolist() == np.isin(np.arange(120), train.texts.items).tolist()


def test_texts_are_cut_at_their_front() -> None:
    data = texts()
    short = TextExamples.of(data, "valid", max_tokens=5)
    rows = np.flatnonzero(data.split == 1)
    expected = [data.tokens[data.offsets[r] : data.offsets[r + 1]][:5].tolist() for r in rows]
    tokens, offsets = short.take(torch.arange(len(rows)))
    ours = [tokens[a:b].tolist() for a, b in pairwise(offsets.tolist())]
    assert ours == expected
    assert short.label.tolist() == data.label[rows].tolist()


def clicks() -> LabelledRows:
    return load(
        "synthetic-clicks",
        num_rows=12_000,
        cardinalities=(4, 30, 60),
        num_crosses=2,
        strength=2.0,
        num_dense=2,
    )


@pytest.mark.parametrize("kind", [DLRM, DCN])
def test_planted_crosses_are_found_where_scores_per_id_find_none(
    kind: type[DLRM] | type[DCN],
) -> None:
    data = clicks()
    train, valid, test = (ClickExamples.of(data, split) for split in ("train", "valid", "test"))
    torch.manual_seed(0)
    tables = {f: memcom.build("full", n, 8, sparse=True) for f, n in data.cardinalities.items()}
    for table in tables.values():
        table.reset_parameters(0.1)
    found = {}
    controls = FieldBias(list(data.cardinalities.values()), 2), Prior(train.label, 2, binary=True)
    for model in (kind(tables, 2), *controls):
        fit_supervised(model, train, valid, less_loss, epochs=6, learning_rate=1e-2)
        logits = predict(model, test)
        found[type(model)] = auc(logits, test.label), less_loss(logits, test.label)
    assert found[Prior][0] == 0.5
    assert found[kind][0] > found[FieldBias][0] + 0.05
    assert found[kind][1] > max(found[FieldBias][1], found[Prior][1])


def test_dense_columns_are_standardised_by_the_training_rows() -> None:
    data = clicks()
    dense = data.dense.copy()
    dense[:, 0] = 5 * dense[:, 0] + 100
    dense[:, 1] = 3
    data = replace(data, dense=dense)
    train, test = ClickExamples.of(data, "train"), ClickExamples.of(data, "test")
    own = dense[data.split == 0].astype(np.float64)
    np.testing.assert_allclose(
        test.dense[:, 0],
        (dense[data.split == 2, 0] - own[:, 0].mean()) / own[:, 0].std(),
        rtol=1e-4,
    )
    assert train.dense[:, 0].std().item() == pytest.approx(1, rel=1e-3)
    assert (train.dense[:, 1] == 0).all()


def test_batches_make_no_difference_to_predictions() -> None:
    model, test = classifier(), TextExamples.of(texts(), "test")
    model.train()
    torch.testing.assert_close(
        predict(model, test), predict(model, test, batch_size=7), rtol=1e-5, atol=1e-6
    )
    assert model.training


def test_what_cannot_be_trained_on_is_refused() -> None:
    data = clicks()
    weighted = replace(data, weight=np.ones(len(data), dtype=np.float32))
    with pytest.raises(ValueError, match="weighted rows"):
        ClickExamples.of(weighted, "train")
    with pytest.raises(ValueError, match="the test split is empty"):
        ClickExamples.of(replace(data, split=np.zeros(len(data), dtype=np.int8)), "test")
    with pytest.raises(ValueError, match="max_tokens must be at least 1"):
        TextExamples.of(texts(), "train", max_tokens=0)
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        SupervisedOptions(patience=0)
    broken = classifier()
    with torch.no_grad():
        broken.bag.embedding.table.fill_(torch.inf)
    with pytest.raises(TrainingError, match="learning rate"):
        fit_texts(broken)
