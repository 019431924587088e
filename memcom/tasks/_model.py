"""Parts of the models of all tasks: compressed tables that are counted and frozen, dense layers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from memcom._annotations import checked
from memcom._check import whole
from memcom.embeddings import CompressedEmbedding
from memcom.embeddings._batch_norm import BatchNorm


class TaskModel(nn.Module):
    """A model around compressed tables, the part whose bytes a task compares."""

    own_arguments: dict[str, Any]

    def __new__(cls, *args: Any, **arguments: Any) -> TaskModel:
        """Keep the arguments that JSON can express, so that a file can rebuild the model."""
        model = super().__new__(cls)
        given = inspect.signature(cls.__init__).bind_partial(model, *args, **arguments).arguments
        model.__dict__["own_arguments"] = {
            name: value for name, value in list(given.items())[1:] if _in_words(value)
        }
        return model

    def tables(self) -> dict[str, CompressedEmbedding]:
        """Return the compressed tables by module name; tables inside a table are left out."""
        found: dict[str, CompressedEmbedding] = {}
        for name, module in self.named_modules():
            inside = any(name.startswith(f"{outer}.") for outer in found)
            if isinstance(module, CompressedEmbedding) and not inside:
                found[name] = module
        return found

    def freeze_tables(self) -> None:
        """Replace each table by the layer that is stored; see `CompressedEmbedding.freeze`."""
        for name, table in self.tables().items():
            self.set_submodule(name, table.freeze())

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    @property
    def input_nbytes(self) -> int:
        """Stored bytes of the tables, buffers included."""
        return sum(table.nbytes for table in self.tables().values())

    @property
    def output_nbytes(self) -> int:
        """Stored bytes of the rest of the model."""
        return stored_nbytes(self) - self.input_nbytes


def _in_words(value: Any) -> bool:
    """True for an option; tables are saved by themselves, and counts are in the state."""
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients, and back."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def stored_nbytes(module: nn.Module) -> int:
    """Return the bytes of a module's state."""
    return sum(t.numel() * t.element_size() for t in module.state_dict().values())


@checked
def dense_layers(
    width: int,
    widths: Sequence[int],
    dropout: float = 0.0,
    *,
    batch_norm: bool = False,
    activate_last: bool = False,
) -> nn.Sequential:
    """Return linear layers with ReLU between them, and batch norm after it if asked for.

    Args:
        width: Width of the input.
        widths: Width of the output of each layer.
        dropout: Probability of dropping an entry of the input of each layer.
        batch_norm: Normalise the output of each ReLU over the batch; a batch of one row, which has
            no spread, is normalised by the running averages, as in evaluation.
        activate_last: Treat the last layer as a hidden one: ReLU, batch norm and dropout follow it.

    Returns:
        The layers, initialised as torch does.

    Raises:
        ValueError: ``dropout`` is not in [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    whole("width", width, 1, 2**31)
    for each in widths:
        whole("each of widths", each, 1, 2**31)
    layers: list[nn.Module] = []

    def add_activation() -> None:
        if layers:
            layers.append(nn.ReLU())
            if batch_norm:
                layers.append(BatchNorm(width))
        if dropout:
            layers.append(nn.Dropout(dropout))

    for out in widths:
        add_activation()
        layers.append(nn.Linear(width, out))
        width = out
    if activate_last:
        add_activation()
    return nn.Sequential(*layers)
