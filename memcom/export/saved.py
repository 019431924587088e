"""Save a layer to a safetensors file, and load it.

The file holds the layer's tensors, and in its header the constructor calls that rebuild it, where
they can be written as JSON, with digests of both. Nothing is pickled. Files appear whole or not at
all, and one that was altered or cut off is refused before anything of it is used.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import mmap
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from memcom._check import path_like, shown
from memcom._files import write_atomically
from memcom.embeddings import (
    REGISTRY,
    CodebookEmbedding,
    CompressedEmbedding,
    HeadEmbedding,
    MappedEmbedding,
    QuantizedEmbedding,
    QuantizeLater,
)
from memcom.embeddings._arguments import check_placement
from memcom.embeddings.product_codes import RotatedEmbedding
from memcom.embeddings.quantized_table import QuantizedBlocks, QuantizedTable

FORMAT = 2
"""Version of the header; a file of a later one is refused."""

_CALL, _LAYER = "memcom", "memcom_layer"
_FILE = "memcom_file"  # all in one entry: safetensors keeps no order of several
_FORMAT, _OUTSIDE, _INSIDE = "format", "header_sha256", "tensors_sha256"
_BUILT = {cls.__name__: cls for cls in (QuantizedEmbedding, CodebookEmbedding)}
_AROUND: dict[str, tuple[type[CompressedEmbedding], str, tuple[str, ...]]] = {
    "HeadEmbedding": (HeadEmbedding, "tail", ("head", "padding_idx")),
    "MappedEmbedding": (MappedEmbedding, "inner", ("padding_idx",)),
    "RotatedEmbedding": (RotatedEmbedding, "embedding", ()),
    "QuantizeLater": (QuantizeLater, "embedding", ("bits", "weight_bits", "clip", "rounding")),
}
_DTYPES = {str(d): d for d in (torch.float32, torch.float64, torch.bfloat16, torch.float16)}


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
    header = {_CALL: json.dumps(call_of(embedding)), _LAYER: json.dumps(_described(embedding))}
    return write_tensors(path, embedding.state_dict(), header)


def load(
    path: str | Path, *, into: CompressedEmbedding | None = None, device: str = "cpu"
) -> CompressedEmbedding:
    """Read a layer that `save` wrote.

    Args:
        path: The file.
        into: A layer made in the same way, whose tensors are replaced. Needed for a layer of a
            class of your own and for one built from tensors: a file cannot rebuild these.
        device: Device of the tensors.

    Returns:
        The layer, equal to the one saved, in evaluation mode.

    Raises:
        ValueError: If the file is damaged or altered, was written by a later version, holds no
            layer or one that needs ``into``, or if ``into`` was made with other arguments.
        TypeError: If ``into`` is no compressor.
    """
    path_like("path", path)
    check_placement(device, None)
    if into is not None and not isinstance(into, CompressedEmbedding):
        raise TypeError(f"into must be a compressor of memcom, got {type(into).__name__}")
    header, state = read_tensors(path, device)
    call, layer = _layer_in(path, header)
    if into is not None:
        _refuse_difference(path, layer or call, _described(into) if layer else call_of(into))
    else:
        into = rebuilt(path, call)
    return _filled(path, into, state)


def open(path: str | Path) -> CompressedEmbedding:
    """Open a layer that `save` wrote and look up rows in the file itself.

    The file is mapped into memory and not read: a lookup brings in the pages that its rows are on,
    and processes that open the same file share them. Its header is checked, with the sizes in it;
    the numbers are not, which would read them all: `load` does that.

    Args:
        path: The file; it must stay as it is while the layer is in use.

    Returns:
        The layer, for lookups on the CPU: nothing of it is trained, and what is written to its
        tensors stays in this process.

    Raises:
        ValueError: If the file is cut off, its header was altered, it was written by a later
            version, or it holds no layer that a file can rebuild.
    """
    path_like("path", path)
    header, state = _mapped_tensors(Path(path))
    call, _ = _layer_in(path, header)
    return _filled(path, rebuilt(path, call), state).requires_grad_(False)


def header_of(path: str | Path) -> dict[str, str]:
    """Return the header of a file that `write_tensors` wrote; refuse one that is not whole."""
    return _mapped_tensors(Path(path))[0]


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]
) -> Path:
    """Write tensors and a header to a safetensors file, with the digests that reading checks."""
    whole = {name: t.detach().contiguous() for name, t in tensors.items()}
    complete = {**header, _FORMAT: str(FORMAT), _INSIDE: _digest_of_tensors(whole)}
    shapes = {name: (str(t.dtype), list(t.shape)) for name, t in whole.items()}
    complete[_OUTSIDE] = _digest_of_header(complete, shapes)
    metadata = {_FILE: json.dumps(complete)}
    return write_atomically(path, lambda temporary: save_file(whole, temporary, metadata=metadata))


def read_tensors(path: str | Path, device: str = "cpu") -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read what `write_tensors` wrote; refuse it with a ValueError if it is not whole."""
    header, mapped = _mapped_tensors(Path(path))
    wanted = header.get(_INSIDE)
    if wanted is not None and _digest_of_tensors(mapped) != wanted:
        raise ValueError(f"{path} was altered or is damaged: its numbers are not those written")
    # Not the map itself: what is loaded stays, whatever becomes of the file.
    return header, {name: t.to(device, copy=True) for name, t in mapped.items()}


class _Place(NamedTuple):
    """A tensor in a file."""

    dtype: torch.dtype
    shape: list[int]
    start: int


def _mapped_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The header, once it is known to be whole, and the tensors, mapped and not read."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:  # checks lengths and places
            header = dict(file.metadata() or {})
            names = list(file.keys())
            dtypes = {n: file.get_slice(n).get_dtype() for n in names}
        places = _places(path, names, dtypes)
        header = dict(json.loads(header[_FILE])) if _FILE in header else header
        version = int(header.get(_FORMAT, "1"))
    except (SafetensorError, ValueError, TypeError, KeyError, OSError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file or is damaged: {error}") from error
    if version > FORMAT:
        raise ValueError(
            f"{path} was written by a later version of memcom, in format {version}; this one "
            f"reads formats 1 to {FORMAT}"
        )
    shapes = {name: (str(place.dtype), place.shape) for name, place in places.items()}
    if version > 1 and header.pop(_OUTSIDE, "") != _digest_of_header(header, shapes):
        raise ValueError(f"{path} was altered or is damaged: its header is not the one written")
    return header, _tensors_at(path, places)


def _places(path: Path, names: list[str], dtypes: dict[str, str]) -> dict[str, _Place]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        content = json.loads(file.read(length))
    return {
        name: _Place(
            _STORED[dtypes[name]],
            content[name]["shape"],
            8 + length + content[name]["data_offsets"][0],
        )
        for name in names
    }


_STORED = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def _tensors_at(path: Path, places: dict[str, _Place]) -> dict[str, Tensor]:
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if hasattr(memory, "madvise"):
        memory.madvise(mmap.MADV_RANDOM)  # rows are far apart: nothing is read ahead
    return {
        name: torch.frombuffer(memory, dtype=place.dtype, count=count, offset=place.start).view(
            place.shape
        )
        if (count := torch.Size(place.shape).numel())
        else torch.empty(place.shape, dtype=place.dtype)
        for name, place in places.items()
    }


def _digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        octets = tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy()
        digest.update(octets.data)
    return digest.hexdigest()


def _digest_of_header(header: Mapping[str, str], shapes: Mapping[str, Any]) -> str:
    said = json.dumps([sorted(header.items()), sorted(shapes.items())])
    return hashlib.sha256(said.encode()).hexdigest()


def _layer_in(path: str | Path, header: Mapping[str, str]) -> tuple[Any, Any]:
    """The call that makes the layer of a file, and its description."""
    if _CALL not in header:
        raise ValueError(f"{path} holds tensors, but no layer saved by memcom")
    try:
        return json.loads(header[_CALL]), json.loads(header.get(_LAYER, "null"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _filled(
    path: str | Path, layer: CompressedEmbedding, state: dict[str, Tensor]
) -> CompressedEmbedding:
    try:
        layer.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the layer: {error}") from error
    return layer.eval()


def rebuilt(path: str | Path, call: Any) -> CompressedEmbedding:
    """Make the layer that a call from `call_of` describes, on the meta device."""
    if call is None:
        raise ValueError(f"{path} holds a layer that a file cannot rebuild; give into=")
    try:
        return _made(call)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: it cannot be rebuilt from {shown(call)}") from error


def _made(call: Any) -> CompressedEmbedding:
    name, arguments = call["name"], dict(call["arguments"])
    if name in _AROUND:
        cls, inside, _ = _AROUND[name]
        inner = _made(call["inside"])
        if cls is MappedEmbedding:
            arguments["rows"] = torch.empty(
                call["num_embeddings"], dtype=torch.int64, device="meta"
            )
        if cls is RotatedEmbedding:
            arguments["rotation"] = torch.empty(2 * (call["embedding_dim"],), device="meta")
        build_around: Any = cls
        layer: CompressedEmbedding = build_around(**{inside: inner}, **arguments)
    else:
        build = _BUILT.get(name) or REGISTRY[name]
        arguments["device"] = "meta"
        layer = build(call["num_embeddings"], call["embedding_dim"], **arguments)
    for place, packed in call.get("packed", {}).items():
        owner, _, attribute = place.rpartition(".")
        module = layer.get_submodule(owner)
        if attribute in module._parameters:
            delattr(module, attribute)
        elif not isinstance(layer, QuantizedEmbedding):
            raise ValueError(f"{name} has no table {place}")
        shape, dtype = (packed["rows"], packed["width"]), _DTYPES[packed["dtype"]]
        kind = QuantizedBlocks if packed["blocks"] else QuantizedTable
        table = torch.empty(shape, dtype=dtype, device="meta")
        setattr(module, attribute, kind(table, packed["bits"]))
    return layer


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


def call_of(embedding: CompressedEmbedding) -> dict[str, Any] | None:
    """Return the constructor calls that make such a layer; None where JSON cannot express them."""
    cls = type(embedding)
    names = [name for name, known in (*REGISTRY.items(), *_BUILT.items()) if known is cls]
    call: dict[str, Any] = {
        "name": names[0] if names else cls.__name__,
        "num_embeddings": embedding.num_embeddings,
        "embedding_dim": embedding.embedding_dim,
    }
    known, inside, options = _AROUND.get(cls.__name__, (None, "", ()))
    if known is cls:
        arguments: dict[str, Any] = {name: getattr(embedding, name) for name in options}
        call["inside"] = call_of(getattr(embedding, inside))
        if call["inside"] is None:
            return None
    elif names:
        arguments = embedding.own_arguments
    else:
        return None
    try:
        call["arguments"] = json.loads(json.dumps(arguments, default=_plain))
    except TypeError:
        return None
    if packed := _packed_tables(embedding, inside):
        call["packed"] = packed
    return call


def _packed_tables(embedding: CompressedEmbedding, inside: str) -> dict[str, Any]:
    """The tables of a layer itself that are stored packed, by their place."""
    return {
        name: {
            "rows": module.num_rows,
            "width": module.width,
            "bits": module.bits,
            "dtype": str(module.dtype),
            "blocks": isinstance(module, QuantizedBlocks),
        }
        for name, module in embedding.named_modules()
        if isinstance(module, QuantizedTable) and not (inside and name.startswith(f"{inside}."))
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
