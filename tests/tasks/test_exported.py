from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from memcom import export, kernels, tasks
from memcom.cli import main
from tests.embeddings.cases import make, some_ids

N = 2000


def test_a_layer_to_a_file_that_is_opened_with_its_card(tmp_path):
    source = export.save(make("qr(head=30,bits=8)", n=N), tmp_path / "items.safetensors")
    file, card, vocabulary = tasks.export_file(
        source, "safetensors", quality={"nDCG@10": "0.25 (0.24 to 0.26)"}
    )
    assert vocabulary is None
    assert [each.name for each in (file, card)] == [
        "items.frozen.safetensors",
        "items.frozen.safetensors.md",
    ]
    layer, frozen = export.open(file), make("qr(head=30,bits=8)", n=N).freeze()
    assert torch.equal(layer(some_ids(9, n=N)), frozen(some_ids(9, n=N)))
    text = card.read_text()
    for said in (
        f"HeadEmbedding, 2,000 x 16, {frozen.compression_ratio:.2f} times",
        f"| {frozen.nbytes:,} |",
        f"| **whole file** | {file.stat().st_size:,} |",
        "`tail.remainder.codes`, uint8",
        "| nDCG@10 | 0.25 (0.24 to 0.26) |",
        f"- torch {torch.__version__.partition('+')[0]}",
    ):
        assert said in text, (said, text)


def test_a_model_to_a_file_and_back(tmp_path):
    model = tasks.HistoryRanker(make("memcom(bits=4)", n=N)).eval()
    source = tasks.save_model(model, tmp_path / "ranker.safetensors")
    file, card, _ = tasks.export_file(source, "safetensors", tmp_path / "small.safetensors")
    back = tasks.load_model(file)
    model.freeze_tables()
    inputs = some_ids(20, n=N), torch.tensor([0, 3, 20])
    assert torch.equal(back(*inputs), model(*inputs))
    assert f"| **dense layers** | {4 * N * 17:,} |" in card.read_text()


def test_what_cannot_be_exported_is_refused(tmp_path):
    source = export.save(make("hash"), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="another file than the source"):
        tasks.export_file(source, "safetensors", source)
    with pytest.raises(ValueError, match="one of 'onnx', 'safetensors', got 'coreml'"):
        tasks.export_file(source, "coreml")
    with pytest.raises(FileNotFoundError, match="no file"):
        tasks.export_file(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="strings must be 501, one for each id, got 2"):
        tasks.export_file(source, strings=["a", "b"])
    source.write_bytes(source.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged"):
        tasks.export_file(source)
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def session_of(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options)


def run(session, *inputs):
    names = [each.name for each in session.get_inputs()]
    values = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
    return torch.from_numpy(session.run(None, values)[0])


RANKERS = {
    "plain": ("memcom", {}),
    "deep": ("hash", {"hidden": [12], "batch_norm": True}),
    "tied": ("memcom(bits=4)", {"tied": True}),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind",
    [
        "tied",
        pytest.param("plain", marks=pytest.mark.ci),
        pytest.param("deep", marks=pytest.mark.ci),
    ],
)
def test_an_exported_ranker_has_the_same_best_ten(kind, tmp_path):
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    spec, options = RANKERS[kind]
    model = tasks.HistoryRanker(make(spec, n=N), **options).eval()
    source = tasks.save_model(model, tmp_path / "ranker.safetensors")
    file = tasks.export_file(source).file
    model.freeze_tables()
    lengths = torch.randint(0, 30, (100,), generator=torch.Generator().manual_seed(2))
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    items = some_ids(int(offsets[-1]), n=N)
    session = session_of(file)
    with torch.no_grad(), kernels.plain():
        wanted = model(items, offsets)
    found = run(session, items, offsets)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(found.topk(10).indices, wanted.topk(10).indices)
    assert run(session, items[:3], torch.tensor([0, 3])).shape == (1, N)
    items[5] = N
    with pytest.raises(Exception, match=f"ids_must_be_in_0_to_{N - 1}"):
        run(session, items, offsets)
    stored = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    graph = onnx.load(file).graph
    assert sum(len(each.raw_data) for each in graph.initializer) <= stored + 1000


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_exported_classifiers_give_the_same_scores(tmp_path):
    pytest.importorskip("onnxscript")
    fields = {"a field": make("memcom-bias", n=N), "b": make("full", n=20)}
    ids = torch.stack([some_ids(9, n=N), some_ids(9, n=20)], 1)
    texts = some_ids(30, n=N), torch.tensor([0, 4, 4, 29, 30])
    for model, inputs in (
        (tasks.TextClassifier(make("hash", n=N), 3, hidden=(8,)), texts),
        (tasks.DLRM(fields, 2, bottom=(4,), top=(8,)), (ids, torch.randn(9, 2))),
        (tasks.DCN(fields, 1, cross_layers=2, deep=(8,)), (ids, torch.randn(9, 1))),
    ):
        source = tasks.save_model(model.eval(), tmp_path / "model.safetensors")
        session = session_of(tasks.export_file(source).file)
        with torch.no_grad():
            torch.testing.assert_close(run(session, *inputs), model(*inputs), rtol=1e-4, atol=1e-5)


def test_the_command_writes_file_vocabulary_and_card(tmp_path):
    pytest.importorskip("marisa_trie")
    source = export.save(make("memcom", n=3, ratio=1), tmp_path / "items.safetensors")
    (tmp_path / "items.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    words = f"export {source} --to safetensors --strings {tmp_path / 'items.txt'} --quality a=0.5"
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 0, result.output
    lines = dict(line.split(": ", 1) for line in result.output.splitlines())
    assert set(lines) == {"file", "card", "vocabulary"}
    vocabulary = export.Vocabulary.load(lines["vocabulary"].split(" (")[0])
    assert vocabulary.ids(["three"]).tolist() == [2]
    card = (tmp_path / "items.frozen.safetensors.md").read_text()
    assert f"| **vocabulary**, 3 strings | {vocabulary.nbytes:,} |" in card
    assert "| a | 0.5 |" in card
    result = CliRunner().invoke(main, f"export {source} --quality a".split())
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.output
