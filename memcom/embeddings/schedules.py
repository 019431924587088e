"""Every layer of a model that needs a procedure gets one, whatever surrounds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from memcom.embeddings._amtl_schedule import AMTLSchedule
from memcom.embeddings._cce_schedule import CCESchedule
from memcom.embeddings._fiited_schedule import FIITEDSchedule
from memcom.embeddings._pep_schedule import PEPSchedule
from memcom.embeddings._scall_schedule import SCALLSchedule
from memcom.embeddings._schedule import Schedule
from memcom.embeddings.amtl import AMTLEmbedding
from memcom.embeddings.clustered import CCEEmbedding
from memcom.embeddings.fiited import FIITEDEmbedding
from memcom.embeddings.pep import PEPEmbedding
from memcom.embeddings.scall import SCALLEmbedding


def schedule_for(
    emb: nn.Module,
    num_steps: int,
    *,
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    reward: Callable[[], float] | None = None,
) -> Schedule[Any] | None:
    """The procedure that a layer needs, with its defaults for a training of known length.

    PEP searches for a third of the steps and retrains for the rest; AMTL and FIITED come down to
    their budgets in the first half; SCALL cuts the training into five segments; CCE is clustered
    anew six times in the first three quarters.

    Args:
        emb: Any layer.
        num_steps: Optimizer steps of the whole training.
        model: Rewound with the layer by PEP.
        optimizer: Forgets its moments of what starts anew.
        reward: Validation quality, for SCALL.

    Returns:
        The schedule; None for a layer that trains by itself.
    """
    every = max(1, min(50, num_steps // 50))
    half = max(1, num_steps // 2)
    if isinstance(emb, PEPEmbedding):
        steps = max(1, num_steps // 3)
        return PEPSchedule(emb, prune_steps=steps, every=every, model=model, optimizer=optimizer)
    if isinstance(emb, AMTLEmbedding):
        return AMTLSchedule(emb, prune_steps=half, every=every)
    if isinstance(emb, FIITEDEmbedding):
        return FIITEDSchedule(emb, prune_steps=half, every=every, optimizer=optimizer)
    if isinstance(emb, SCALLEmbedding):
        return SCALLSchedule(emb, reward=reward, every=max(4, num_steps // 5))
    if isinstance(emb, CCEEmbedding):
        return CCESchedule(
            emb, every=max(1, num_steps // 8), last=num_steps * 3 // 4, optimizer=optimizer
        )
    return None


class Procedures:
    """The schedules of all layers of a model; each notes the ids that its layer is called with.

        procedures = memcom.embeddings.follow(model, num_steps, optimizer=optimizer)
        for batch in batches:
            loss(model, batch).backward()
            optimizer.step()
            procedures.step()

    Layers are found inside others too (behind private head rows, in a model of many fields). Made
    by `follow`; `close` stops watching.

    Args:
        schedules: Name of the layer in the model -> its schedule.

    Attributes:
        schedules: Name of the layer in the model -> its schedule.
    """

    def __init__(self, schedules: dict[str, Schedule[Any]]) -> None:
        self.schedules = schedules
        self._seen: dict[str, list[Tensor]] = {name: [] for name in schedules}
        self._hooks = [
            schedule.emb.register_forward_pre_hook(self._watch(name))
            for name, schedule in schedules.items()
        ]

    def _watch(self, name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
            if layer.training and torch.is_grad_enabled():
                self._seen[name].append(arguments[0].detach().reshape(-1).long())

        return note

    def step(self) -> None:
        """Note one optimizer step."""
        for name, schedule in self.schedules.items():
            seen = self._seen[name]
            schedule.step(torch.cat(seen) if seen else torch.empty(0, dtype=torch.int64))
            seen.clear()

    @property
    def within_budget(self) -> bool:
        """Whether every table has become as small as it has to be."""
        return all(schedule.within_budget for schedule in self.schedules.values())

    def close(self) -> None:
        """Stop watching the layers."""
        for hook in self._hooks:
            hook.remove()
        for schedule in self.schedules.values():
            schedule.close()


def follow(
    model: nn.Module,
    num_steps: int,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    reward: Callable[[], float] | None = None,
) -> Procedures:
    """Schedules, with their defaults, for all layers in ``model`` that need one.

    PEP rewinds the whole model where it has only one such table, and else each table alone.

    Args:
        model: Contains the layers, each called as a module.
        num_steps: Optimizer steps of the whole training.
        optimizer: Forgets its moments of what starts anew.
        reward: Validation quality of the model, for SCALL.

    Returns:
        The schedules, to be stepped together; none at all for a model that trains by itself.
    """
    alone = sum(isinstance(layer, PEPEmbedding) for layer in model.modules()) == 1
    found = {}
    for name, layer in model.named_modules():
        schedule = schedule_for(
            layer,
            num_steps,
            model=model if alone else None,
            optimizer=optimizer,
            reward=reward,
        )
        if schedule is not None:
            found[name] = schedule
    return Procedures(found)
