"""Leaving Python: save, load and export a layer.

A saved layer is one safetensors file: its tensors, and in the header, where words can say it, the
constructor call that rebuilds it. Nothing is pickled. Files appear whole or not at all.
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
        embedding: Any compressor, wrapped or frozen ones too.
        path: Where to; replaced if it is there.

    Returns:
        The path. The tensors take exactly ``embedding.nbytes`` in the file.
    """
    tensors = {name: t.contiguous() for name, t in embedding.state_dict().items()}
    header = {_HEADER: json.dumps(_call(embedding))}
    return _write(path, lambda temporary: save_file(tensors, temporary, metadata=header))


def load(
    path: str | Path, *, into: CompressedEmbedding | None = None, device: str = "cpu"
) -> CompressedEmbedding:
    """Read a layer that `save` wrote.

    Args:
        path: The file.
        into: A layer of the same making, whose tensors are replaced. Needed for a frozen or
            wrapped layer and for one built from tensors: a file cannot rebuild these.
        device: Where the tensors go.

    Returns:
        The layer, equal to the one saved, in evaluation mode.

    Raises:
        ValueError: The file holds no layer, or one that needs ``into``.
        RuntimeError: ``into`` is another kind of layer.
    """
    with safe_open(path, framework="pt", device=device) as file:
        header = (file.metadata() or {}).get(_HEADER)
        if header is None:
            raise ValueError(f"{path} holds tensors, but no layer saved by memcom")
        call = json.loads(header)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if into is None:
        if call is None:
            raise ValueError(f"{path} holds a layer that a file cannot rebuild; give into=")
        into = get(call["name"])(
            call["num_embeddings"], call["embedding_dim"], device="meta", **call["arguments"]
        )
    into.load_state_dict(state, assign=True)
    return into.eval()


def _call(embedding: CompressedEmbedding) -> dict[str, Any] | None:
    """The constructor call that makes such a layer; None where words cannot say it."""
    names = [name for name, cls in REGISTRY.items() if cls is type(embedding)]
    arguments = embedding.own_arguments
    try:
        json.dumps(arguments)
    except TypeError:
        return None
    return (
        {
            "name": names[0],
            "num_embeddings": embedding.num_embeddings,
            "embedding_dim": embedding.embedding_dim,
            "arguments": arguments,
        }
        if names
        else None
    )


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
