"""Leaving Python: save, load and export a layer.

A saved layer is one safetensors file: its tensors, and in the header the constructor call that
rebuilds it. Nothing is pickled. Files appear whole or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from memcom.embeddings import REGISTRY, CompressedEmbedding, get

_HEADER = "memcom"


def save(embedding: CompressedEmbedding, path: str | Path) -> Path:
    """Write a layer to a safetensors file.

    Args:
        embedding: Any registered compressor.
        path: Where to; replaced if it is there.

    Returns:
        The path. The tensors take exactly ``embedding.nbytes`` in the file.

    Raises:
        TypeError: The layer is not a registered one, or was built from things that are not plain
            numbers, text or lists, so that a file could not rebuild it.
    """
    names = [name for name, cls in REGISTRY.items() if cls is type(embedding)]
    if not names:
        raise TypeError(f"{type(embedding).__name__} is not a registered compressor")
    call = {
        "name": names[0],
        "num_embeddings": embedding.num_embeddings,
        "embedding_dim": embedding.embedding_dim,
        "arguments": embedding.own_arguments,
    }
    tensors = {name: t.contiguous() for name, t in embedding.state_dict().items()}
    header = {_HEADER: json.dumps(call)}
    return _write(path, lambda temporary: save_file(tensors, temporary, metadata=header))


def load(path: str | Path, *, device: str = "cpu") -> CompressedEmbedding:
    """Read a layer that `save` wrote.

    Args:
        path: The file.
        device: Where the tensors go.

    Returns:
        The layer, equal to the one saved, in evaluation mode.

    Raises:
        ValueError: The file holds no layer.
    """
    with safe_open(path, framework="pt", device=device) as file:
        header = (file.metadata() or {}).get(_HEADER)
        if header is None:
            raise ValueError(f"{path} holds tensors, but no layer saved by memcom")
        call = json.loads(header)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with torch.device("meta"):
        layer = get(call["name"])(
            call["num_embeddings"], call["embedding_dim"], **call["arguments"]
        )
    layer.load_state_dict(state, assign=True)
    return layer.eval()


def to_onnx(module: nn.Module, example: Tensor, path: str | Path) -> Path:
    """Write a module that takes ids as an ONNX file, its first axis of any length.

    ONNX has no assertion: a bad id that an address function folds into range goes unnoticed there.

    Args:
        module: A compressor, or a model around one, in evaluation mode.
        example: Ids of the shape and type the file is to take; at least 2 along the first axis.
        path: Where to; replaced if it is there.

    Returns:
        The path.
    """
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        module, (example,), dynamo=True, verbose=False, dynamic_shapes=({0: batch},)
    )
    assert program is not None
    return _write(path, lambda temporary: program.save(temporary))


def _write(path: str | Path, write: Callable[[str], Any]) -> Path:
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
