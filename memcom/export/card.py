"""The card of an exported file: where its bytes are, what runs it, and how good it was."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from memcom._annotations import checked
from memcom._files import write_text
from memcom.embeddings import CompressedEmbedding
from memcom.export.onnx_file import OPSET
from memcom.export.vocabulary import Vocabulary

_PACKAGES = ("memcom-kit", "torch", "safetensors", "onnx", "onnxscript", "onnxruntime")


@checked
def write_card(
    module: nn.Module,
    file: str | Path,
    *,
    vocabulary: Vocabulary | None = None,
    quality: Mapping[str, str] | None = None,
) -> Path:
    """Write the card of an exported file beside it, in Markdown.

    It says the method of every table and its bytes tensor by tensor, the bytes of the dense layers,
    of the whole file, with its external data, and of the vocabulary, the versions of what wrote it
    and is installed to run it, and the quality, if it is given.

    Args:
        module: The compressor that was exported, or the model around some.
        file: The exported file; the card gets its name with ``.md`` behind.
        vocabulary: The strings of the ids, as they are saved beside the file.
        quality: What was measured, such as ``{"nDCG@10": "0.251 (0.247 to 0.255), full 0.262"}``.

    Returns:
        The path of the card.

    Raises:
        FileNotFoundError: There is no such file.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    tables = _tables(module)
    rows = []
    for place, table in tables.items():
        method = f"{type(table).__name__}, {table.num_embeddings:,} x {table.embedding_dim}"
        ratio = f"{table.compression_ratio:.2f} times below fp32"
        rows.append((f"**{place or 'table'}**: {method}, {ratio}", table.nbytes))
        rows += [
            (f"{place or 'table'}: `{name}`, {str(t.dtype).removeprefix('torch.')}", _nbytes(t))
            for name, t in table.state_dict().items()
        ]
    rest = sum(map(_nbytes, module.state_dict().values())) - sum(t.nbytes for t in tables.values())
    if rest:
        rows.append(("**dense layers**", rest))
    data = file.with_name(f"{file.name}.data")
    whole = [file, data] if file.suffix == ".onnx" and data.is_file() else [file]
    rows.append(("**whole file**" + " and external data" * (len(whole) > 1), _sizes(whole)))
    if vocabulary is not None:
        rows.append((f"**vocabulary**, {len(vocabulary):,} strings", vocabulary.nbytes))
    lines = [f"# {file.name}", "", _format(file), "", "## Bytes", "", "| part | bytes |"]
    lines += ["| --- | ---: |", *(f"| {part} | {count:,} |" for part, count in rows), ""]
    if quality:
        lines += ["## Quality", "", "| measure | value |", "| --- | --- |"]
        lines += [*(f"| {name} | {value} |" for name, value in quality.items()), ""]
    lines += ["## Versions", "", *(f"- {name} {version}" for name, version in _versions()), ""]
    return write_text(file.with_name(f"{file.name}.md"), "\n".join(lines))


def _tables(module: nn.Module) -> dict[str, CompressedEmbedding]:
    """The outermost compressors of a module, by their place."""
    found: dict[str, CompressedEmbedding] = {}
    for name, part in module.named_modules():
        inside = any(not outer or name.startswith(f"{outer}.") for outer in found)
        if isinstance(part, CompressedEmbedding) and not inside:
            found[name] = part
    return found


def _format(file: Path) -> str:
    if file.suffix == ".onnx":
        return (
            f"ONNX, opset {OPSET}. Ids out of range stop a run of onnxruntime on the CPU with an "
            "error of the node `ids_must_be_in_...`."
        )
    return "safetensors. `memcom.open` looks rows up in the file, and refuses ids out of range."


def _nbytes(tensor: object) -> int:
    return int(tensor.numel() * tensor.element_size())  # type: ignore[attr-defined]


def _sizes(files: list[Path]) -> int:
    return sum(each.stat().st_size for each in files)


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
