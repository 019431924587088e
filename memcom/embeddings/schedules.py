"""Training as layers want it: terms in the loss, and changes of a table after every step.

    schedules = memcom.embeddings.attach(model, num_steps, optimizer=optimizer)
    regularizers = memcom.embeddings.Regularizers(model)
    for batch in batches:
        (loss(model, batch) + regularizers.loss()).backward()
        optimizer.step()
        schedules.step()

Each method's schedule is in its paper's file; a layer makes its own with `schedule`, and says by
`regularizer` what it adds to the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from memcom._annotations import checked
from memcom.embeddings._arguments import whole
from memcom.embeddings._contract import CompressedEmbedding

Layer = TypeVar("Layer", bound=CompressedEmbedding)


class Schedule(Generic[Layer]):
    """Base of all schedules: call `step` once after every step of an optimizer.

    A subclass defines `update`. The model only has to contain the layer.

    Args:
        emb: The layer.
        prune_steps: Steps after which the layer is within its budget.
        every: Steps between two changes.

    Raises:
        ValueError: A number of steps is not positive.
    """

    def __init__(self, emb: Layer, *, prune_steps: int, every: int) -> None:
        self.emb = emb
        self.prune_steps = whole("prune_steps", prune_steps, 1)
        self.every = whole("every", every, 1)
        self.steps = 0

    def step(self, ids: Tensor) -> None:
        """Note one optimizer step.

        Args:
            ids: The ids of the batch, int32 or int64 of any shape.
        """
        self.steps += 1
        with torch.no_grad():
            self.update(ids)

    def update(self, ids: Tensor) -> None:
        """Change the layer after step number ``self.steps``."""
        raise TypeError(f"{type(self).__name__} does not define update")

    @property
    def due(self) -> bool:
        """True at the end of an interval, and at the end of pruning."""
        return self.steps % self.every == 0 or self.steps == self.prune_steps

    @property
    def within_budget(self) -> bool:
        """True once the layer is as small as its budget."""
        return self.steps >= self.prune_steps

    def allowed(self, start: int, end: int) -> int:
        """Return how much may be in use now: from ``start`` down to ``end`` at ``prune_steps``.

        It falls with the cube of the time left (Zhu and Gupta, "To prune, or not to prune", 2017,
        https://arxiv.org/abs/1710.01878): fast while much can be spared, slowly at the end.
        """
        left = max(0.0, 1 - self.steps / self.prune_steps)
        return end + int((start - end) * left**3)

    def export(self) -> CompressedEmbedding:
        """Return the ordinary layer that is stored, within the budget at any step."""
        return self.emb.freeze()

    def close(self) -> None:
        """Remove the hooks of a schedule that has any."""


def interval(num_steps: int) -> int:
    """Steps between two changes by default: about 50 changes, at least one every 50 steps."""
    return max(1, min(50, num_steps // 50))


def forget_moments(
    optimizer: torch.optim.Optimizer | None, table: nn.Parameter, rows: Tensor
) -> None:
    """Zero an optimizer's moments of some rows of a table."""
    if optimizer is not None:
        for moment in optimizer.state.get(table, {}).values():
            if isinstance(moment, Tensor) and moment.shape == table.shape:
                moment[rows] = 0


@checked
def schedule_for(emb: nn.Module, num_steps: int, **options: Any) -> Schedule[Any] | None:
    """Return the schedule of one layer; None for a layer that trains by itself.

    Args:
        emb: Any layer.
        num_steps: Optimizer steps of the whole training.
        **options: ``model``, ``optimizer`` and ``reward``, as `CompressedEmbedding.schedule` says.

    Returns:
        The schedule, with its defaults for this training.
    """
    return emb.schedule(num_steps, **options) if isinstance(emb, CompressedEmbedding) else None


class Lookups:
    """The ids that layers are called with while they train, noted by hooks.

    Args:
        layers: Name of the layer -> the layer, called as a module.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._seen: dict[str, list[Tensor]] = {name: [] for name in layers}
        self._hooks = [
            layer.register_forward_pre_hook(self._watch(name)) for name, layer in layers.items()
        ]

    def _watch(self, name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
            if layer.training and torch.is_grad_enabled():
                self._seen[name].append(arguments[0].detach().reshape(-1).long())

        return note

    def take(self, name: str) -> list[Tensor]:
        """Return the ids of each call of a layer since the last time, int64 ``(n,)``."""
        seen, self._seen[name] = self._seen[name], []
        return seen

    def close(self) -> None:
        """Stop watching the layers."""
        for hook in self._hooks:
            hook.remove()


class Regularizers:
    """Terms that the layers of a model add to the loss; see `CompressedEmbedding.regularizer`.

    Layers are found inside others too. Hooks note the ids that each is called with; `close` removes
    them.

    Args:
        model: Contains the layers, each called as a module.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = {
            name: layer
            for name, layer in model.named_modules()
            if isinstance(layer, CompressedEmbedding)
            and type(layer).regularizer is not CompressedEmbedding.regularizer
        }
        self._lookups = Lookups(self._layers)

    def loss(self) -> Tensor | float:
        """Return the terms for every call of a layer since the last time, summed; 0 for none."""
        terms = (
            layer.regularizer(ids)
            for name, layer in self._layers.items()
            for ids in self._lookups.take(name)
        )
        return sum((term for term in terms if term is not None), 0.0)

    def close(self) -> None:
        """Stop watching the layers."""
        self._lookups.close()


class Schedules:
    """The schedules of all layers of a model, made by `attach` and stepped together.

    Hooks note the ids that each layer is called with; `close` removes them.

    Args:
        schedules: Name of the layer in the model -> its schedule.

    Attributes:
        schedules: Name of the layer in the model -> its schedule.
    """

    def __init__(self, schedules: dict[str, Schedule[Any]]) -> None:
        self.schedules = schedules
        self._lookups = Lookups({name: schedule.emb for name, schedule in schedules.items()})

    def step(self) -> None:
        """Note one optimizer step: first for the layers inside, then for those around them."""
        for name, schedule in reversed(self.schedules.items()):
            seen = self._lookups.take(name)
            schedule.step(torch.cat(seen) if seen else torch.empty(0, dtype=torch.int64))

    @property
    def within_budget(self) -> bool:
        """True once every table is as small as its budget."""
        return all(schedule.within_budget for schedule in self.schedules.values())

    def close(self) -> None:
        """Stop watching the layers."""
        self._lookups.close()
        for schedule in self.schedules.values():
            schedule.close()


@checked
def attach(
    model: nn.Module,
    num_steps: int,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    reward: Callable[[], float] | None = None,
) -> Schedules:
    """Make the default schedules of all layers in ``model`` that have one.

    Layers are found inside others too: behind private head rows, or in a model of many fields.

    Args:
        model: Contains the layers, each called as a module.
        num_steps: Optimizer steps of the whole training.
        optimizer: Its moments of what starts anew are cleared.
        reward: Validation quality of the model, for SCALL.

    Returns:
        The schedules; none for a model that trains by itself.
    """
    options = {"model": model, "optimizer": optimizer, "reward": reward}
    found = {name: schedule_for(m, num_steps, **options) for name, m in model.named_modules()}
    return Schedules({name: made for name, made in found.items() if made is not None})


follow = attach  # the old name, for one release
