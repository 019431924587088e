"""ONNX: a layer, or a model around layers, as a file that onnxruntime runs.

A lookup stays a gather: the file holds the stored tensors, packed rows as they are packed, and
nodes that read rows of them. ONNX has no assertion, so ids are guarded by a gather that fails: the
number of ids out of range is an index into a table of one zero, which is added to the ids. In
onnxruntime on the CPU a bad id stops the run with an error, whose node is named after the range.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memcom._annotations import checked
from memcom._check import path_like, shown
from memcom._extras import MissingExtra
from memcom.embeddings import CompressedEmbedding

OPSET = 20
"""Version of ONNX's operators in the files; onnxruntime 1.17 and later run it."""
_RANGE = "memcom.ids"
_FOLDED = 256  # numbers that the optimizer may compute beforehand, at most


@checked
def to_onnx(
    module: nn.Module,
    example: Tensor | Sequence[Tensor],
    path: str | Path,
    *,
    external_data: bool = False,
) -> Path:
    """Write a module that takes ids as an ONNX file, the first axis of its inputs of any length.

    The same module gives the same bytes. The file says which versions wrote it, in its metadata.
    An id out of range is an error in onnxruntime on the CPU: *indices element out of data bounds*,
    of the node ``ids_must_be_in_0_to_...``. Elsewhere it depends on what a gather does with an
    index of 1 into a single zero.

    Args:
        module: A compressor, or a model around some, in evaluation mode.
        example: Ids of the shape and type of the file's input, or all inputs in order; at least 2
            along each first axis.
        path: Path of the file; an existing one is replaced.
        external_data: Put the tensors into a second file beside it, of the same name with ``.data``
            behind; onnxruntime maps it into memory and reads the pages that lookups touch.

    Returns:
        The path.

    Raises:
        ValueError: ONNX has no operator for something that the module does; the message names it.
            Or an example is too short.
        MissingExtra: onnxscript is not installed.
    """
    path_like("path", path)
    inputs = (example,) if isinstance(example, Tensor) else tuple(example)
    for each in inputs:
        if not isinstance(each, Tensor):
            raise TypeError(f"example must be a tensor, or tensors, got {shown(each)}")
        if each.ndim == 0 or len(each) < 2:
            raise ValueError(
                "example must have at least 2 entries along its first axis, got shape "
                f"{tuple(each.shape)}"
            )
    model = _converted(module, inputs)
    _tidy(model)
    model.producer_name, model.producer_version = "memcom", _version()
    model.metadata_props.update(
        {
            "memcom_version": _version(),
            "torch_version": torch.__version__,
            "opset": str(OPSET),
            "module": type(module).__name__,
        }
    )
    return _written(model, Path(path), external_data)


def _converted(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """The module as a model of onnx_ir, its ids guarded."""
    try:
        from onnxscript import optimizer
    except ModuleNotFoundError as error:
        raise MissingExtra("export to ONNX", error.name, "export") from error
    first = torch.export.Dim("batch", min=1) if len(inputs) == 1 else torch.export.Dim.DYNAMIC
    with _guarded(module), torch.no_grad():
        program = torch.export.export(
            module, inputs, dynamic_shapes=tuple({0: first} for _ in inputs), strict=False
        )
    try:
        found = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            optimize=False,
            opset_version=OPSET,
            output_names=["output"],
        )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(_missing_operator(module, error)) from error
    assert found is not None
    # Its own limits would let small tables be stored as they are composed.
    optimizer.optimize(found.model, input_size_limit=_FOLDED, output_size_limit=_FOLDED)
    return found.model


@contextmanager
def _guarded(module: nn.Module) -> Iterator[None]:
    """Have every outermost embedding of a module guard its ids while it is traced."""
    outside: list[str] = []
    with ExitStack() as stack:
        for name, part in module.named_modules():
            inner = any(name.startswith(outer) for outer in outside)
            if inner or not isinstance(part, (CompressedEmbedding, nn.Embedding)):
                continue
            outside.append(f"{name}." if name else "")
            hook = part.register_forward_pre_hook(_Guard())
            stack.callback(hook.remove)
        yield


class _Guard:
    """Adds to the ids of an embedding a zero that cannot be read if one is out of range."""

    def __init__(self) -> None:
        self.zero: Tensor | None = None

    def __call__(self, part: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        ids, n = args[0], part.num_embeddings
        wide = ids.long()
        outside = ((wide < 0) | (wide >= n)).sum()
        if self.zero is not None:
            # A tied output reads every row, by ids that are constant: if they depend on the input,
            # no optimizer stores the whole table instead.
            outside = outside + self.zero
        self.zero = torch.onnx.ops.symbolic(
            "Gather",
            (torch.zeros(1, dtype=torch.int64), outside),
            {"axis": 0},
            dtype=torch.int64,
            shape=(),
            metadata_props={_RANGE: f"0_to_{n - 1}"},
        )
        return (wide + self.zero).to(ids.dtype), *args[1:]


def _missing_operator(module: nn.Module, error: BaseException | None) -> str:
    """A fault that names the operator ONNX lacks and what to use instead."""
    text, cause = "", error
    while cause is not None:
        text, cause = f"{text} {cause}", cause.__cause__
    found = re.search(r"No ONNX function found for \W*OpOverload\(op='([\w.]+)'", text)
    found = found or re.search(r"target=torch\.ops\.([\w.]+)", text)
    name = found[1] if found else "an operation"
    return (
        f"ONNX has no operator for {name} of {type(module).__name__}; save its "
        "compressor with memcom.export.save and serve that with memcom.open, or take a method "
        "whose lookup is a gather, such as 'memcom'"
    )


def _tidy(model: Any) -> None:
    """Leave out what no runtime reads (stack traces, paths, shapes inside), and name the guards."""
    graph = model.graph
    model.metadata_props.clear()
    ends = {id(value) for value in (*graph.inputs, *graph.outputs)}
    number, guards = itertools.count(), Counter[str]()
    for part in (graph, *model.functions.values()):
        part.metadata_props.clear()
        for node in part.all_nodes():
            valid = node.metadata_props.get(_RANGE)
            node.metadata_props.clear()
            node.doc_string = None
            node.name = ""
            if valid is not None:
                again = guards[valid]
                node.name = f"ids_must_be_in_{valid}" + f"_again_{again}" * bool(again)
                guards[valid] += 1
            for value in node.outputs:
                value.metadata_props.clear()
                if id(value) not in ends:
                    value.name = f"v{next(number)}"  # long names add up to kilobytes
                    value.type = value.shape = None
    for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    _name_axes(graph)


def _name_axes(graph: Any) -> None:
    """Call the free axis of the inputs "batch", or where there are several, by the input."""
    import onnx_ir

    symbols = {str(axis.value): value.name for value in graph.inputs for axis in _free(value)}
    if len(symbols) == 1:
        names = dict.fromkeys(symbols, "batch")
    else:
        names = {symbol: f"length_of_{name}" for symbol, name in symbols.items()}
    for value in (*graph.inputs, *graph.outputs):
        axes = [a if isinstance(a, int) else names.get(str(a.value)) for a in value.shape]
        value.shape = onnx_ir.Shape(axes)


def _free(value: Any) -> list[Any]:
    return [axis for axis in value.shape if not isinstance(axis, int)]


def _written(model: Any, path: Path, external_data: bool) -> Path:
    """Write the file, or both files, in a folder beside the path, and move what is whole."""
    import onnx_ir

    path.parent.mkdir(parents=True, exist_ok=True)
    data = f"{path.name}.data"
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        new = folder / path.name
        onnx_ir.save(model, new, external_data=data if external_data else None)
        for file in sorted(folder.iterdir(), reverse=True):  # the tensors before what names them
            with open(file, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(file, path.parent / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def _version() -> str:
    import memcom

    return memcom.__version__
