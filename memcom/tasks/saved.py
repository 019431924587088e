"""A trained model in one file: its compressed tables, its dense layers, and how to rebuild both.

The file is as `memcom.export.save` writes it: safetensors, nothing pickled, digests in the header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memcom._check import path_like, shown
from memcom.export.saved import call_of, read_tensors, rebuilt, write_tensors
from memcom.tasks._model import TaskModel
from memcom.tasks.clicks import DCN, DLRM, ClickModel
from memcom.tasks.ranking.model import HistoryRanker
from memcom.tasks.text import TextClassifier

MODEL = "memcom_model"
_KINDS: dict[str, type[TaskModel]] = {
    cls.__name__: cls for cls in (HistoryRanker, TextClassifier, DLRM, DCN)
}


def save_model(model: TaskModel, path: str | Path) -> Path:
    """Write a model of a task to a safetensors file.

    Args:
        model: A `HistoryRanker`, `TextClassifier`, `DLRM` or `DCN` around compressors; frozen ones
            take the fewest bytes (`TaskModel.freeze_tables`).
        path: Path of the file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        TypeError: It is another model, or its tables are no compressors.
        ValueError: A table cannot be rebuilt from a file.
    """
    path_like("path", path)
    name = type(model).__name__
    if _KINDS.get(name) is not type(model):
        raise TypeError(f"save_model takes one of {', '.join(_KINDS)}, got {name}")
    tables = {place: call_of(table) for place, table in model.tables().items()}
    if not tables:
        raise TypeError(f"the tables of the {name} must be compressors of memcom, got others")
    for place, call in tables.items():
        if call is None:
            raise ValueError(
                f"the table {place} cannot be rebuilt from a file: it is of a class "
                "of your own, or was built from tensors"
            )
    arguments = {k: v for k, v in model.own_arguments.items() if k != "item_counts"}
    if isinstance(model, ClickModel):
        arguments["fields"] = list(model.fields)
    said = {"name": name, "arguments": arguments, "tables": tables}
    return write_tensors(path, model.state_dict(), {MODEL: json.dumps(said)})


def load_model(path: str | Path) -> TaskModel:
    """Read a model that `save_model` wrote.

    Args:
        path: The file.

    Returns:
        The model, equal to the one saved, in evaluation mode.

    Raises:
        ValueError: The file is damaged or altered, was written by a later version, or holds no
            model.
    """
    path_like("path", path)
    header, state = read_tensors(path)
    if MODEL not in header:
        raise ValueError(f"{path} holds no model saved by memcom.tasks.save_model")
    try:
        said = json.loads(header[MODEL])
        model = _made(path, said)
        model.load_state_dict(state, assign=True)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: it holds no model that can be rebuilt") from error
    return model.eval()


def _made(path: str | Path, said: Any) -> TaskModel:
    tables = [rebuilt(path, call) for call in said["tables"].values()]
    cls, arguments = _KINDS[said["name"]], dict(said["arguments"])
    if issubclass(cls, ClickModel):
        fields = arguments.pop("fields")
        return cls(dict(zip(fields, tables, strict=True)), **arguments)
    (table,) = tables
    return cls(table, **arguments)


def example_inputs(model: TaskModel) -> tuple[Tensor, ...]:
    """Return inputs of a model, for `memcom.export.to_onnx`: two users, texts or rows.

    Args:
        model: A model that `save_model` takes.

    Returns:
        Its inputs, ids 0 throughout.

    Raises:
        TypeError: It is another model.
    """
    if isinstance(model, ClickModel):
        ids = torch.zeros(2, len(model.fields), dtype=torch.int64)
        return ids, torch.zeros(2, model.num_dense)
    if isinstance(model, (HistoryRanker, TextClassifier)):
        return torch.zeros(5, dtype=torch.int64), torch.tensor([0, 2, 5])
    raise TypeError(f"model must be one of {', '.join(_KINDS)}, got {shown(model)}")
