"""The protocol between tasks and sweeps, and the tasks by name.

A task trains one model for one `Setting` and returns how good it is as an `Outcome`. A sweep knows
no more of it than `Task`. To add a task, write a module with a `Task` and add a line to `_KNOWN`;
a task outside this package is named by its place, such as ``"my_package.my_module:TASK"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from memcom._annotations import checked

# Name of a task -> "module:attribute", so that a sweep imports only what it runs.
_KNOWN = {
    "ranking": "memcom.tasks.ranking:TASK",
    "pairwise": "memcom.tasks.ranking:PAIRWISE",
    "text": "memcom.tasks.text:TASK",
    "clicks": "memcom.tasks.clicks:TASK",
    "streaming": "memcom.tasks.streaming:TASK",
}


FITTED = "full->"
"""Before the name of a method that was fitted to a trained full table, not trained itself."""


@dataclass(frozen=True)
class Setting:
    """Everything that decides the outcome of one training, but for the data.

    Attributes:
        task: Name of the task.
        method: A compressor such as ``"qr(operation=concat)"``, or one of the task's controls or
            references.
        ratio: Compression ratio asked of the input embedding, or None.
        nbytes: Bytes the input embedding may take, or None. ``"full"``, controls and references
            have neither ratio nor bytes, every other method has one of the two.
        seed: Seed of initialisation, batches and all other random numbers.
        learning_rate: Learning rate of the optimizer; None for a control that learns nothing, and
            for references, which choose among a grid of their own.
        options: All other options of the task: width, epochs, ... JSON values only.
    """

    task: str
    method: str
    ratio: float | None = None
    nbytes: int | None = None
    seed: int = 0
    learning_rate: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Size(NamedTuple):
    """Bytes of the input embedding, all its tables together.

    Attributes:
        nbytes: Stored bytes; of a reference those of the whole model.
        full_nbytes: Bytes of the full fp32 table or tables; 0 where there is no table.
    """

    nbytes: int
    full_nbytes: int


@dataclass(frozen=True)
class Outcome:
    """Measurements of one trained model.

    Attributes:
        metrics: Test metrics by name, among them the task's metric, and other measurements of the
            trained model.
        valid: The task's metric on the validation part; every choice is made by it.
        size: Bytes stored in the input embedding.
        output_nbytes: Stored bytes of the rest of the model.
        best_epoch: Epoch of the weights; 0 if nothing was learned.
        units: For metrics that are a mean over users, rows or documents: ``(units,)`` float32
            value of each, in an order that depends on the data only. Intervals over units and
            paired tests use them. A metric like AUC has none.
        derived: By name, what was measured of models that were made of this one without training,
            as the trained full table in 8 bits a number: ``int8``.
    """

    metrics: Mapping[str, float]
    valid: float
    size: Size
    output_nbytes: int
    best_epoch: int = 0
    units: Mapping[str, np.ndarray] = field(default_factory=dict)
    derived: Mapping[str, Outcome] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """Description of a task for sweeps.

    Attributes:
        name: Name of the task.
        metric: Name of the test metric that decides.
        accepts: Class of the data it works on, such as `memcom.data.Interactions`.
        run: ``run(setting, data, device) -> Outcome``: build, train, choose the epoch on
            validation, freeze the layer to the one that is stored, measure on test. ``device`` is
            ``"cpu"`` or ``"cuda:0"``. With one thread on a CPU the same setting gives the same
            numbers. Any exception is a failed trial.
        size: ``size(setting, data) -> Size``: the planned bytes, without building the model;
            raises `memcom.BudgetError` where the method cannot be that small.
        profiles: Options by profile, ``"fast"`` and ``"full"``. ``learning_rates`` is the grid
            that is tried; the rest goes to `Setting.options`. A spec may change these options and
            no others, so every option has a value here. One whose value is a mapping has an
            option per name in it, such as ``weights.weight_decay``.
        higher_is_better: Direction of the metric.
        controls: Methods without a table, and so without a ratio: ``popular``, ``bias-only``, ...
        references: Models of another kind, to know what a full table has to stand up to. Each
            chooses among a grid of its own on validation, so its trials have no learning rate.
        untrained: Controls and references in which nothing is random: one trial each, no seeds.
        unit: Singular of the units of `Outcome.units`, for headings.
        label: Name of the metric in headings, with options in braces, as in ``nDCG@{k}``; the
            metric's own name if empty.
        time: ``time(setting, data) -> {name: ratio}``: time of a lookup and of a training step of
            the method as a multiple of the full table's; None for a task that is not timed.
        later: Options that the task did not have from the beginning. A setting leaves them out
            where they have the value of the profile, so that trials of before keep their key.
        check: ``check(options)`` raises ValueError if an option is out of its range, before any
            data is loaded. The options have the types of the profile's.
    """

    name: str
    metric: str
    accepts: type
    run: Callable[[Setting, Any, str], Outcome]
    size: Callable[[Setting, Any], Size]
    profiles: Mapping[str, Mapping[str, Any]]
    higher_is_better: bool = True
    controls: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    unit: str = "user"
    label: str = ""
    time: Callable[[Setting, Any], Mapping[str, float]] | None = None
    later: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any]], None] | None = None


def task_names() -> list[str]:
    """Return the names of the tasks that come with the kit."""
    return list(_KNOWN)


@checked
def get_task(name: str) -> Task:
    """Return the task of a name.

    Args:
        name: One of `task_names`, or ``"module:attribute"`` of another task.

    Returns:
        The task.

    Raises:
        ValueError: There is no such task.
    """
    module, _, attribute = _KNOWN.get(name, name).partition(":")
    if not attribute:
        raise ValueError(
            f"task must be one of {', '.join(_KNOWN)} or module:attribute, got {name!r}"
        )
    try:
        task = getattr(import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"{name!r}: there is no module {error.name}") from error
    if not isinstance(task, Task):
        raise ValueError(f"{name} is no task, it is {task!r}")
    return task
