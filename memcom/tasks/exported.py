"""From the file of a trained layer or model to the file that a device runs, and its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from memcom import export
from memcom._annotations import checked
from memcom._check import choice
from memcom.embeddings import CompressedEmbedding
from memcom.export.card import write_card
from memcom.export.saved import header_of
from memcom.tasks._model import TaskModel
from memcom.tasks.saved import MODEL, example_inputs, load_model, save_model

FORMATS = ("onnx", "safetensors")


class Exported(NamedTuple):
    """The files of an export.

    Attributes:
        file: The exported file.
        card: Its card.
        vocabulary: The strings of the ids; None without.
    """

    file: Path
    card: Path
    vocabulary: Path | None


@checked
def export_file(
    source: str | Path,
    to: str = "onnx",
    out: str | Path | None = None,
    *,
    external_data: bool = False,
    strings: Sequence[str] | None = None,
    quality: Mapping[str, str] | None = None,
) -> Exported:
    """Export the layer or the model of a file: freeze its tables, write it, and its card.

    Args:
        source: A file of `memcom.export.save` or `save_model`.
        to: ``"onnx"`` or ``"safetensors"``.
        out: Path of the new file. Beside the source by default: ``items.onnx`` or
            ``items.frozen.safetensors`` for ``items.safetensors``.
        external_data: As in `memcom.export.to_onnx`.
        strings: The string of every id of the first table, in order, for a vocabulary beside it.
        quality: What was measured, for the card.

    Returns:
        The paths of what was written.

    Raises:
        ValueError: The source is damaged, altered or of a later version; the format cannot carry
            it; ``strings`` are not as many as ids; or ``out`` is the source.
        MissingExtra: A package for the format or the vocabulary is not installed.
    """
    source = Path(source)
    choice("to", to, FORMATS)
    ending = ".onnx" if to == "onnx" else ".frozen.safetensors"
    file = source.with_suffix(ending) if out is None else Path(out)
    if file.resolve() == source.resolve():
        raise ValueError(f"out must be another file than the source, got {file}")
    module: TaskModel | CompressedEmbedding
    if MODEL in header_of(source):
        module = load_model(source)
        module.freeze_tables()
        table = next(iter(module.tables().values()))
        inputs = example_inputs(module)
    else:
        module = table = export.load(source).freeze()
        inputs = (torch.zeros(2, dtype=torch.int64),)
    vocabulary = None
    if strings is not None:
        if len(strings) != table.num_embeddings:
            raise ValueError(
                f"strings must be {table.num_embeddings}, one for each id, got {len(strings)}"
            )
        vocabulary = export.Vocabulary(strings)
    if to == "onnx":
        export.to_onnx(module.eval(), inputs, file, external_data=external_data)
    elif isinstance(module, TaskModel):
        save_model(module, file)
    else:
        export.save(module, file)
    kept = (
        None if vocabulary is None else vocabulary.save(file.with_name(f"{file.name}.vocabulary"))
    )
    card = write_card(module, file, vocabulary=vocabulary, quality=quality)
    return Exported(file, card, kept)
