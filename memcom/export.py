"""Save and load a layer, and export it to ONNX.

A saved layer is one safetensors file: its tensors, and in the header the constructor call that
rebuilds it, where that can be written as JSON. Nothing is pickled. Files appear whole or not at
all.
"""

from __future__ import annotations

import inspect
import json
import numbers
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from memcom._annotations import checked
from memcom._check import path_like, shown
from memcom._files import write_atomically
from memcom.embeddings import REGISTRY, CompressedEmbedding, get
from memcom.embeddings._arguments import check_placement

_CALL, _LAYER = "memcom", "memcom_layer"


def save(embedding: CompressedEmbedding, path: str | Path) -> Path:
    """Write a layer to a safetensors file.

    Args:
        embedding: Any compressor, wrapped or frozen ones too.
        path: Path of the file; an existing one is replaced.

    Returns:
        The path. The tensors take exactly ``embedding.nbytes`` in the file.

    Raises:
        TypeError: It is no compressor, but a model around one or another module.
        ValueError: It is on the meta device and has no values.
    """
    if not isinstance(embedding, CompressedEmbedding):
        raise TypeError(
            f"save takes a compressor of memcom, got {type(embedding).__name__}; save the layers "
            "of a model one by one, or its state_dict with torch.save"
        )
    path_like("path", path)
    if embedding.device.type == "meta":
        raise ValueError("the layer is on the meta device and has no values to save")
    tensors = {name: t.contiguous() for name, t in embedding.state_dict().items()}
    header = {_CALL: json.dumps(_call(embedding)), _LAYER: json.dumps(_described(embedding))}
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
        ValueError: If the file is damaged, holds no layer or one that needs ``into``, or if
            ``into`` was made with other arguments.
        TypeError: If ``into`` is no compressor.
    """
    path_like("path", path)
    check_placement(device, None)
    if into is not None and not isinstance(into, CompressedEmbedding):
        raise TypeError(f"into must be a compressor of memcom, got {type(into).__name__}")
    call, layer, state = _read(Path(path), device)
    if into is not None:
        _refuse_difference(path, layer or call, _described(into) if layer else _call(into))
    elif call is None:
        raise ValueError(f"{path} holds a layer that a file cannot rebuild; give into=")
    else:
        into = _rebuilt(path, call)
    try:
        into.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the layer: {error}") from error
    return into.eval()


def _read(path: Path, device: str) -> tuple[Any, Any, dict[str, Tensor]]:
    """The call that makes the layer, its description, and its tensors."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        call = json.loads(header.get(_CALL, '"none"'))
        layer = json.loads(header.get(_LAYER, "null"))
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file or is damaged: {error}") from error
    if call == "none":
        raise ValueError(f"{path} holds tensors, but no layer saved by memcom")
    return call, layer, state


def _rebuilt(path: str | Path, call: Any) -> CompressedEmbedding:
    try:
        arguments = {**call["arguments"], "device": "meta"}
        sizes = call["num_embeddings"], call["embedding_dim"]
        return get(call["name"])(*sizes, **arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: it cannot be rebuilt from {shown(call)}") from error


def _refuse_difference(path: str | Path, saved: Any, given: Any, place: str = "") -> None:
    """Compare two descriptions, or two calls; name the first argument that differs."""
    if isinstance(saved, dict) and isinstance(given, dict):
        for key in (*saved, *(key for key in given if key not in saved)):
            inner = f"{place}.{key}" if place else key
            _refuse_difference(path, saved.get(key), given.get(key), inner)
    elif saved != given:
        raise ValueError(
            f"{path} holds a layer with {place} = {shown(saved)}, but into has {shown(given)}; "
            "make it with the arguments of the saved one"
        )


def _call(embedding: CompressedEmbedding) -> dict[str, Any] | None:
    """The constructor call that makes such a layer; None where JSON cannot express it."""
    names = [name for name, cls in REGISTRY.items() if cls is type(embedding)]
    try:
        arguments = json.loads(json.dumps(embedding.own_arguments, default=_plain))
    except TypeError:
        return None
    if not names:
        return None
    return {
        "name": names[0],
        "num_embeddings": embedding.num_embeddings,
        "embedding_dim": embedding.embedding_dim,
        "arguments": arguments,
    }


def _described(embedding: CompressedEmbedding) -> dict[str, Any]:
    """Class, sizes and arguments, defaults too, of a layer and of those inside it.

    Of arguments that JSON cannot express, tensors above all, the state tells enough.
    """
    cls = type(embedding)
    parameters = inspect.signature(cls.__init__).parameters.values()
    arguments = {p.name: p.default for p in parameters if p.default is not p.empty}
    arguments |= embedding.own_arguments
    described: dict[str, Any] = {
        "class": cls.__name__,
        "num_embeddings": embedding.num_embeddings,
        "embedding_dim": embedding.embedding_dim,
        "padding_idx": embedding.padding_idx,
    }
    for name, value in sorted(arguments.items()):
        if name not in ("sparse", "device", "dtype", "padding_idx"):
            described[name] = json.loads(json.dumps(value, default=lambda _: "not in words"))
    for name, child in embedding.named_children():
        if isinstance(child, CompressedEmbedding):
            described[name] = _described(child)
    return described


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


@checked
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
