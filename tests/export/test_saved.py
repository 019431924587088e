from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import memcom
from memcom import kernels
from memcom.export import load, save
from memcom.export.saved import call_of
from tests.embeddings.cases import SPECS, make, some_ids


@pytest.mark.parametrize("spec", SPECS)
def test_a_saved_layer_comes_back_whole(spec, tmp_path):
    layer = make(spec, padding_idx=3)
    path = save(layer, tmp_path / "layer.safetensors")
    for back in (load(path), memcom.export.open(path)):
        assert type(back) is type(layer)
        assert (back.nbytes, back.padding_idx) == (layer.nbytes, 3)
        assert torch.equal(back(some_ids(20)), layer(some_ids(20)))
    assert [p.name for p in tmp_path.iterdir()] == ["layer.safetensors"]


FROZEN = [
    *SPECS,
    "memcom(bits=4)",
    "memcom(head=20,bits=2,weight_bits=8)",
    "low-rank(bits=8)",
    "crt(bits=3)",
    "pq(bits=8)",
    "scalar-qr(bits=4)",
]


@pytest.mark.parametrize("spec", FROZEN)
def test_a_frozen_layer_comes_back_whole(spec, tmp_path):
    frozen = make(spec, padding_idx=3).freeze()
    path = save(frozen, tmp_path / "layer.safetensors")
    for back in (load(path), memcom.export.open(path)):
        assert type(back) is type(frozen)
        assert (back.nbytes, back.padding_idx) == (frozen.nbytes, 3)
        assert torch.equal(back(some_ids(20)), frozen(some_ids(20)))
    with pytest.raises(ValueError, match=r"but into has"):
        load(path, into=make("qr(operation=add)" if spec == "hash" else "hash"))


def test_a_map_in_front_comes_back(tmp_path):
    rows = torch.arange(90) % 40
    layer = memcom.MappedEmbedding(make("memcom", n=40), rows).eval()
    back = load(save(layer, tmp_path / "layer.safetensors"))
    assert torch.equal(back.materialize(), layer.materialize())


def test_a_class_of_a_users_own_needs_one_like_it(tmp_path):
    class Mine(memcom.HashingTrickEmbedding):
        pass

    path = save(Mine(20, 4, num_buckets=5), tmp_path / "layer.safetensors")
    with pytest.raises(ValueError, match="give into="):
        load(path)
    with pytest.raises(ValueError, match="cannot rebuild"):
        memcom.export.open(path)
    assert isinstance(load(path, into=Mine(20, 4, num_buckets=5)), Mine)


def test_half_precision_stays_half(tmp_path):
    layer = make("memcom").to(torch.bfloat16)
    back = load(save(layer, tmp_path / "layer.safetensors"))
    assert back.table.dtype == torch.bfloat16
    assert torch.equal(back(some_ids(20)), layer(some_ids(20)))


def test_tensors_alone_are_no_layer(tmp_path):
    save_file({"table": torch.ones(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="no layer saved by memcom"):
        load(tmp_path / "x.safetensors")


def test_a_layer_saved_twice_gives_the_same_bytes(tmp_path):
    first, again = (save(make("memcom(head=20,bits=8)"), tmp_path / name) for name in "ab")
    assert first.read_bytes() == again.read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(make("hash"), tmp_path / "layer.safetensors")
    before = path.read_bytes()

    def half(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("memcom.export.saved.save_file", half)
    with pytest.raises(OSError, match="disk full"):
        save(make("memcom"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


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
    header = {"memcom": json.dumps(call_of(layer))}
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
        for read in (load, memcom.export.open):
            with pytest.raises(ValueError, match=r"layer\.safetensors is .*damaged"):
                read(path)
    for read in (load, memcom.export.open):
        with pytest.raises(FileNotFoundError, match=r"no file .*none"):
            read(tmp_path / "none")


SMAPS = Path("/proc/self/smaps")


def mapped(path):
    """Bytes of a file in this process's memory, by kind, summed over its mappings."""
    found: dict[str, int] = {}
    inside = False
    for line in SMAPS.read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = line.endswith(str(path))
        elif inside and rest[1:] == ["kB"]:
            found[first[:-1]] = found.get(first[:-1], 0) + 1024 * int(rest[0])
    return found


@pytest.mark.skipif(not SMAPS.exists(), reason="the system does not tell what is mapped")
def test_an_opened_file_is_read_where_rows_are_touched_and_shared(tmp_path):
    rows, width, around = 80_000, 64, 2**21  # pages around the one touched, a huge one at most
    path = save(memcom.FullEmbedding(rows, width), tmp_path / "layer.safetensors")
    layer = memcom.export.open(path)
    assert mapped(path)["Rss"] == 0
    ids = torch.tensor([3, rows // 2, rows - 1])
    with kernels.plain():
        found = layer(ids)
    assert torch.equal(found, load(path)(ids))
    assert 0 < mapped(path)["Rss"] <= len(ids) * around
    layer.table.sum()
    whole = mapped(path)
    assert whole["Rss"] >= layer.nbytes
    memcom.export.open(path).table.sum()  # another mapping, as another process would have
    assert mapped(path)["Pss"] <= whole["Pss"] * 1.05
    assert mapped(path)["Private_Dirty"] == 0


def test_what_is_written_to_an_opened_layer_stays_out_of_the_file(tmp_path):
    path = save(make("memcom"), tmp_path / "layer.safetensors")
    before = path.read_bytes()
    layer = memcom.export.open(path)
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    layer.table.zero_()
    assert path.read_bytes() == before
    assert memcom.export.open(path).table.any()


def test_an_altered_file_is_refused(tmp_path):
    path = save(make("memcom"), tmp_path / "layer.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="altered"):
        load(path)
    assert memcom.export.open(path).nbytes == make("memcom").nbytes  # reads no numbers
    for old, new in (
        (b"num_buckets", b"num_bucketz"),
        (b"num_embeddings", b"num_embeddinge"),
    ):
        assert old in content
        path.write_bytes(content.replace(old, new))
        for read in (load, memcom.export.open):
            with pytest.raises(ValueError, match="altered"):
                read(path)


def test_a_file_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "layer.safetensors"
    save_file({"table": torch.ones(2, 2)}, path, metadata={"memcom_file": '{"format": "3"}'})
    for read in (load, memcom.export.open):
        with pytest.raises(ValueError, match=r"later version .* format 3.* reads formats 1 to 2"):
            read(path)
