from __future__ import annotations

import pytest
import torch
from torch import nn

from memcom import export, tasks
from tests.embeddings.cases import make, some_ids

N = 300


def models():
    yield tasks.HistoryRanker(make("memcom", n=N), hidden=[12], batch_norm=True)
    yield tasks.HistoryRanker(make("qr(head=30,bits=8)", n=N), 290, tied=True)
    yield tasks.TextClassifier(make("hash", n=N), 3, hidden=(8,))
    fields = {"a field": make("memcom-bias", n=N), "b": make("full", n=20)}
    yield tasks.DLRM(fields, 2, bottom=(4,), top=(8,))
    yield tasks.DCN(fields, 0, cross_layers=2, deep=(8,))


def inputs_of(model):
    if isinstance(model, tasks.ClickModel):
        ids = torch.stack([some_ids(7, n=N), some_ids(7, n=20)], 1)
        return ids, torch.randn(7, model.num_dense)
    return some_ids(20, n=N), torch.tensor([0, 4, 4, 20])


@pytest.mark.parametrize("model", list(models()), ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_model_comes_back_whole(model, frozen, tmp_path):
    model.eval()
    if frozen:
        model.freeze_tables()
    path = tasks.save_model(model, tmp_path / "model.safetensors")
    back = tasks.load_model(path)
    assert type(back) is type(model)
    assert not back.training
    inputs = inputs_of(model)
    assert torch.equal(back(*inputs), model(*inputs))
    assert back.input_nbytes == model.input_nbytes
    again = tasks.save_model(back, tmp_path / "again.safetensors")
    assert again.stat().st_size == path.stat().st_size
    model(*tasks.example_inputs(model))


def test_what_is_no_model_is_refused(tmp_path):
    path = export.save(make("hash"), tmp_path / "layer.safetensors")
    with pytest.raises(ValueError, match="no model saved by"):
        tasks.load_model(path)
    with pytest.raises(TypeError, match=r"one of HistoryRanker, .* got ItemBias"):
        tasks.save_model(tasks.ItemBias(4), tmp_path / "x")
    with pytest.raises(TypeError, match="must be compressors"):
        tasks.save_model(tasks.HistoryRanker(nn.Embedding(5, 3)), tmp_path / "x")
    with pytest.raises(TypeError, match="must be one of HistoryRanker"):
        tasks.example_inputs(nn.Linear(2, 2))
    model = tasks.save_model(next(models()), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="no layer saved by memcom"):
        export.load(model)
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="altered"):
        tasks.load_model(model)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "layer.safetensors",
        "model.safetensors",
    ]
