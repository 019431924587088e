from __future__ import annotations

import pytest
import torch

import memcom
from memcom import kernels
from memcom.export import to_onnx
from tests.embeddings.cases import UNSHRUNK, make, some_ids
from tests.export.graphs import complaints

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

N, E = 50_000, 64
RECIPES = [*memcom.available(), "memcom(bits=4)", "qr(head=100,bits=8)", "hash(bits=2)"]
# One of each kind every day, all of them in continuous integration.
DAILY = ("memcom", "int4", "hash")
EVERY = [pytest.param(spec, marks=[] if spec in DAILY else [pytest.mark.ci]) for spec in RECIPES]


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the errors are expected
    return onnxruntime.InferenceSession(path, options)


def run(session, *inputs):
    names = [each.name for each in session.get_inputs()]
    values = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
    return torch.from_numpy(session.run(None, values)[0])


@pytest.mark.parametrize("spec", EVERY)
def test_a_file_of_any_method_gathers_from_what_is_stored(spec, tmp_path):
    layer = make(spec, n=N, e=E, ratio=1 if spec in UNSHRUNK else 4, padding_idx=3).freeze()
    path = to_onnx(layer, some_ids(4, 3, n=N), tmp_path / "layer.onnx")
    assert complaints(path, layer.nbytes, N) == []
    session = session_of(path)
    for batch in (0, 1, 50):
        ids = some_ids(batch, 3, n=N)
        torch.testing.assert_close(run(session, ids), layer(ids).detach(), rtol=1e-5, atol=1e-5)
    for bad in (-1, N, 2**31, 2**40, -(2**40)):
        ids = some_ids(5, 3, n=N)
        ids[2, 1] = bad
        with pytest.raises(Exception, match=f"ids_must_be_in_0_to_{N - 1}"):
            run(session, ids)


class OneHot(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, ids):
        rows = torch.nn.functional.one_hot(ids % len(self.layer.table), len(self.layer.table))
        return rows.float() @ self.layer.table * self.layer.multiplier[ids]


class Folded(OneHot):
    def __init__(self, layer):
        super().__init__(layer)
        with kernels.plain():
            self.register_buffer("whole", layer.materialize())

    def forward(self, ids):
        return self.whole[ids]


class Everything(OneHot):
    def forward(self, ids):
        return (self.layer.table * 2)[ids % len(self.layer.table)] * self.layer.multiplier[ids]


@pytest.mark.ci
@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        (OneHot, "constant of shape|one-hot"),
        (Folded, "the file has"),
        (Everything, "whole table|the file has"),
    ],
)
def test_the_check_sees_what_is_no_gather(module, complaint, tmp_path):
    layer = make("memcom", n=N, e=E)
    path = to_onnx(module(layer), some_ids(4, n=N), tmp_path / "layer.onnx")
    found = complaints(path, layer.nbytes, N)
    assert any(word in line for line in found for word in complaint.split("|")), found


def test_the_file_says_who_wrote_it_and_is_the_same_again(tmp_path):
    layer = make("memcom(bits=4)", n=N, e=E).freeze()
    first, again = (
        to_onnx(layer, some_ids(4, 3, n=N), tmp_path / name) for name in ("a.onnx", "b.onnx")
    )
    assert first.read_bytes() == again.read_bytes()
    model = onnx.load(first)
    onnx.checker.check_model(model)
    assert (model.producer_name, model.producer_version) == ("memcom", memcom.__version__)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 20)]
    said = {each.key: each.value for each in model.metadata_props}
    assert said["memcom_version"] == memcom.__version__
    assert said["torch_version"] == torch.__version__
    assert said["opset"] == "20"
    content = first.read_bytes()
    for trace in (b"File ", b".py", b"stack_trace"):
        assert trace not in content
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_a_model_around_a_compressor_runs_on_batches_of_any_size(tmp_path):
    model = torch.nn.Sequential(
        memcom.EmbeddingBag(make("memcom-bias"), "mean"), torch.nn.Linear(16, 3)
    ).eval()
    path = to_onnx(model, some_ids(4, 5), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path)
    for batch in (1, 4, 9):
        ids = some_ids(batch, 5)
        (scores,) = session.run(None, {session.get_inputs()[0].name: ids.numpy()})
        torch.testing.assert_close(torch.from_numpy(scores), model(ids).detach())


def test_quotients_above_two_to_the_24_survive_the_export(tmp_path):
    # The exporter sends a floor division with rounding_mode through float32.
    layer = memcom.QREmbedding(2**26, 1, num_remainders=2**20, operation="add")
    ids = torch.tensor([2**24 + 3, 2**26 - 1, 2**25 + 2**20 - 1, 5])
    path = to_onnx(layer, ids, tmp_path / "layer.onnx")
    (vectors,) = onnxruntime.InferenceSession(path).run(None, {"ids": ids.numpy()})
    torch.testing.assert_close(torch.from_numpy(vectors), layer(ids).detach())


class Unsayable(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = make("memcom")

    def forward(self, ids):
        return torch.special.airy_ai(self.layer(ids))


def test_what_onnx_cannot_say_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no operator for .*airy_ai.* of Unsayable; save its"):
        to_onnx(Unsayable(), some_ids(4), tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="at least 2 entries"):
        to_onnx(make("memcom"), some_ids(1), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_tensors_beside_the_file_and_a_failed_write(tmp_path, monkeypatch):
    layer = make("memcom", n=N, e=E)
    path = to_onnx(layer, some_ids(4, n=N), tmp_path / "layer.onnx", external_data=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["layer.onnx", "layer.onnx.data"]
    assert path.stat().st_size < 4096
    ids = some_ids(9, n=N)
    torch.testing.assert_close(run(session_of(path), ids), layer(ids).detach())
    before = [path.read_bytes(), (tmp_path / "layer.onnx.data").read_bytes()]

    def half(model, path, external_data):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("onnx_ir.save", half)
    with pytest.raises(OSError, match="disk full"):
        to_onnx(make("memcom", n=N, e=E, seed=1), some_ids(4, n=N), path, external_data=True)
    assert before == [path.read_bytes(), (tmp_path / "layer.onnx.data").read_bytes()]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["layer.onnx", "layer.onnx.data"]
