from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
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
    with pytest.raises(ValueError, match=r"class = .*HashingTrickEmbedding"):
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


def changed(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list | tuple):
        return [value[0] + 1, *value[1:]]
    return value + 1 if isinstance(value, int | float) else value


CHANGES = {
    "operation": "add",
    "fusion": "concat",
    "strategy": "skip",
    "encoding": "gaussian",
    "activation": "relu",
    "multiplier_init": "normal",
    "form": "centroid",
    "granularity": "global",
}


@pytest.mark.parametrize("name", memcom.available())
def test_into_a_layer_of_other_arguments_is_refused_for_every_method(name, tmp_path):
    n, e = 120, 8
    sizes = dict(memcom.plan(name, n, e, ratio=1 if name == "full" else 1.5).arguments)
    cls = memcom.get(name)
    layer = cls(n, e, **sizes)
    path = save(layer, tmp_path / "layer.safetensors")
    same = load(path, into=cls(n, e, **sizes, sparse=True))
    assert torch.equal(same.materialize(), layer.materialize())
    tried = 0
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[3:]:
        default = sizes.get(parameter.name, parameter.default)
        value = CHANGES.get(parameter.name) or changed(default)
        try:
            other = cls(n, e, **{**sizes, parameter.name: value})
        except (ValueError, TypeError):
            continue
        if value != default:
            tried += 1
            with pytest.raises(ValueError, match=rf"{parameter.name} = .* but into has"):
                load(path, into=other)
    for num, dim, padding_idx in ((n, e, 1), (n + 1, e, None), (n, 2 * e, None)):
        try:
            other = cls(num, dim, **sizes, padding_idx=padding_idx)
        except (ValueError, TypeError):
            continue
        with pytest.raises(ValueError, match="but into has"):
            load(path, into=other)
    assert tried or name in ("full", "int8", "int4")


def test_arguments_inside_a_wrapped_or_frozen_layer_are_compared(tmp_path):
    for freeze in (False, True):
        layers = [make(f"qr(operation={how},head=20,bits=8)") for how in ("mult", "add")]
        saved, other = (layer.freeze() if freeze else layer for layer in layers)
        path = save(saved, tmp_path / "layer.safetensors")
        with pytest.raises(ValueError, match="operation = 'mult', but into has 'add'"):
            load(path, into=other)


def test_a_file_of_an_older_version_is_compared_by_its_call(tmp_path):
    layer = memcom.QREmbedding(100, 8, num_remainders=10, operation="mult")
    path = save(layer, tmp_path / "layer.safetensors")
    with safe_open(path, framework="pt") as file:
        header = {"memcom": file.metadata()["memcom"]}
    save_file(dict(layer.state_dict()), path, metadata=header)
    assert torch.equal(load(path).materialize(), layer.materialize())
    other = memcom.QREmbedding(100, 8, num_remainders=10, operation="add")
    with pytest.raises(ValueError, match="operation"):
        load(path, into=other)


def test_a_model_around_a_layer_is_refused_in_words(tmp_path):
    for module in (torch.nn.Sequential(make("hash")), torch.nn.Embedding(3, 4)):
        with pytest.raises(TypeError, match=rf"compressor of memcom, got {type(module).__name__}"):
            save(module, tmp_path / "x")
    with pytest.raises(TypeError, match="got Embedding"):
        load(save(make("hash"), tmp_path / "x"), into=torch.nn.Embedding(3, 4))
    with pytest.raises(ValueError, match="meta device"):
        save(make("hash", device="meta"), tmp_path / "y")


def test_saved_files_have_the_permissions_of_the_umask(tmp_path):
    mask = os.umask(0o022)
    try:
        assert save(make("hash"), tmp_path / "x").stat().st_mode & 0o777 == 0o644
        os.umask(0o027)
        assert save(make("hash"), tmp_path / "y").stat().st_mode & 0o777 == 0o640
        assert save(make("hash"), tmp_path / "x").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(mask)


HEADERS = [
    *("null", "[]", "3", '"x"', "{}", "{", "[" * 100_000),
    '{"name": "hash"}',
    '{"name": "nope", "num_embeddings": 9, "embedding_dim": 4, "arguments": {}}',
    '{"name": 3, "num_embeddings": 9, "embedding_dim": 4, "arguments": {"num_buckets": 3}}',
    '{"name": "hash", "num_embeddings": "9", "embedding_dim": 4, "arguments": {"num_buckets": 3}}',
    '{"name": "hash", "num_embeddings": 9, "embedding_dim": 4, "arguments": {"num_bucks": 3}}',
    '{"name": "hash", "num_embeddings": 9, "embedding_dim": 4, "arguments": [1]}',
    '{"name": "tt", "num_embeddings": 9, "embedding_dim": 2147483648, "arguments": {"rank": 2}}',
    '{"name": "full", "num_embeddings": 1099511627776, "embedding_dim": 4, "arguments": {}}',
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_hostile_header_is_refused_with_the_file(header, tmp_path):
    path = tmp_path / "layer.safetensors"
    save_file(dict(make("hash").state_dict()), path, metadata={"memcom": header})
    with pytest.raises(ValueError, match=r"layer\.safetensors"):
        load(path)


def test_a_damaged_file_is_named(tmp_path):
    path = save(make("hash"), tmp_path / "layer.safetensors")
    content = path.read_bytes()
    for broken in (b"", b"x", content[:40], content[:-3], b"\xff" * 8 + content[8:]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"layer\.safetensors is .*damaged"):
            load(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*none"):
        load(tmp_path / "none")
