"""Save and load a layer, and export it to ONNX.

A saved layer is one safetensors file: its tensors, and in the header the constructor call that
rebuilds it, where that can be written as JSON. Nothing is pickled. Files appear whole or not at
all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from memcom._files import write_atomically
from memcom.embeddings import REGISTRY, CompressedEmbedding, get

_HEADER = "memcom"


def save(embedding: CompressedEmbedding, path: str | Path) -> Path:
    """Write a layer to a safetensors file.

    Args:
        embedding: Any compressor, wrapped or frozen ones too.
        path: Path of the file; an existing one is replaced.

    Returns:
        The path. The tensors take exactly ``embedding.nbytes`` in the file.
    """
    tensors = {name: t.contiguous() for name, t in embedding.state_dict().items()}
    header = {_HEADER: json.dumps(_call(embedding))}
    return write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=header))


def load(
    path: str | Path, *, into: CompressedEmbedding | None = None, device: str = "cpu"
) -> CompressedEmbedding:
    """Read a layer that `save` wrote.

    Args:
        path: The file.
        into: A layer made in the same way, whose tensors are replaced. Needed for a frozen or
            wrapped layer and for one built from tensors: a file cannot rebuild these.
        device: Device of the tensors.

    Returns:
        The layer, equal to the one saved, in evaluation mode.

    Raises:
        ValueError: If the file holds no layer, or one that needs ``into``.
        RuntimeError: If ``into`` is another kind of layer.
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
    """The constructor call that makes such a layer; None where JSON cannot express it."""
    names = [name for name, cls in REGISTRY.items() if cls is type(embedding)]
    try:
        json.dumps(embedding.own_arguments)
    except TypeError:
        return None
    if not names:
        return None
    return {
        "name": names[0],
        "num_embeddings": embedding.num_embeddings,
        "embedding_dim": embedding.embedding_dim,
        "arguments": embedding.own_arguments,
    }


def to_onnx(module: nn.Module, example: Tensor, path: str | Path) -> Path:
    """Write a module that takes ids as an ONNX file, its first axis of any length.

    ONNX has no assertion: an id out of range that an address function folds into range is not
    reported there.

    Args:
        module: A compressor, or a model around one, in evaluation mode.
        example: Ids of the shape and type of the file's input; at least 2 along the first axis.
        path: Path of the file; an existing one is replaced.

    Returns:
        The path.
    """
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        module, (example,), dynamo=True, verbose=False, dynamic_shapes=({0: batch},)
    )
    assert program is not None
    return write_atomically(path, lambda temporary: program.save(temporary))
