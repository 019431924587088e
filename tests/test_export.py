from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import memcom
from memcom.export import load, save, to_onnx
from tests.embeddings.cases import SPECS, make, some_ids


@pytest.mark.parametrize("spec", SPECS)
def test_a_saved_layer_comes_back_whole(spec, tmp_path):
    layer = make(spec, padding_idx=3)
    path = save(layer, tmp_path / "layer.safetensors")
    wrapped = "head=" in spec or "bits=" in spec
    back = load(path, into=make(spec, padding_idx=3) if wrapped else None)
    assert type(back) is type(layer)
    assert (back.nbytes, back.padding_idx) == (layer.nbytes, 3)
    assert torch.equal(back(some_ids(20)), layer(some_ids(20)))
    assert [p.name for p in tmp_path.iterdir()] == ["layer.safetensors"]


@pytest.mark.parametrize("spec", ["int8", "dpq", "memcom(head=20,bits=8)"])
def test_a_frozen_layer_needs_one_like_it(spec, tmp_path):
    frozen = make(spec).freeze()
    path = save(frozen, tmp_path / "layer.safetensors")
    with pytest.raises(ValueError, match="give into="):
        load(path)
    back = load(path, into=make(spec).freeze())
    assert torch.equal(back(some_ids(20)), frozen(some_ids(20)))
    with pytest.raises(RuntimeError, match="Missing key"):
        load(path, into=make("hash"))


def test_half_precision_stays_half(tmp_path):
    layer = make("memcom").to(torch.bfloat16)
    back = load(save(layer, tmp_path / "layer.safetensors"))
    assert back.table.dtype == torch.bfloat16
    assert torch.equal(back(some_ids(20)), layer(some_ids(20)))


def test_tensors_alone_are_no_layer(tmp_path):
    save_file({"table": torch.ones(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="no layer saved by memcom"):
        load(tmp_path / "x.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(make("hash"), tmp_path / "layer.safetensors")
    before = path.read_bytes()

    def half(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("memcom.export.save_file", half)
    with pytest.raises(OSError, match="disk full"):
        save(make("memcom"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_model_around_a_compressor_runs_on_batches_of_any_size(tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = torch.nn.Sequential(
        memcom.EmbeddingBag(make("memcom-bias"), "mean"), torch.nn.Linear(16, 3)
    ).eval()
    path = to_onnx(model, some_ids(4, 5), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path)
    for batch in (1, 4, 9):
        ids = some_ids(batch, 5)
        (scores,) = session.run(None, {session.get_inputs()[0].name: ids.numpy()})
        torch.testing.assert_close(torch.from_numpy(scores), model(ids).detach())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_quotients_above_two_to_the_24_survive_the_export(tmp_path):
    # The exporter sends a floor division with rounding_mode through float32.
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    layer = memcom.QREmbedding(2**26, 1, num_remainders=2**20, operation="add")
    ids = torch.tensor([2**24 + 3, 2**26 - 1, 2**25 + 2**20 - 1, 5])
    path = to_onnx(layer, ids, tmp_path / "layer.onnx")
    (vectors,) = onnxruntime.InferenceSession(path).run(None, {"ids": ids.numpy()})
    torch.testing.assert_close(torch.from_numpy(vectors), layer(ids).detach())
