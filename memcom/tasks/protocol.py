"""What a sweep can measure: the protocol of a task, and the tasks by name.

A task trains one model for one `Setting` and says how good it is. All that a sweep knows of it is
in `Task`: a function to run, a function that sizes without training, the metric that counts, and
the effort per profile. To add one, write a module with a `Task` and give it a line in `_KNOWN`;
one of your own is named by where it is, such as ``"my_package.my_module:TASK"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

# Name of a task -> "module:attribute", so that a sweep imports only what it runs.
_KNOWN = {
    "ranking": "memcom.tasks.ranking:TASK",
    "pairwise": "memcom.tasks.ranking:PAIRWISE",
    "text": "memcom.tasks.text:TASK",
    "clicks": "memcom.tasks.clicks:TASK",
    "streaming": "memcom.tasks.streaming:TASK",
}


@dataclass(frozen=True)
class Setting:
    """One trial: with the data, everything that decides its outcome.

    Attributes:
        task: Name of the task.
        method: A compressor such as ``"qr(operation=concat)"``, or one of the task's controls.
        ratio: Compression ratio asked of the input embedding, or None.
        nbytes: Bytes that the input embedding may take, or None. ``"full"`` and the controls have
            neither of the two, every other method has one.
        seed: Of initialisation, batches and all else that is random.
        learning_rate: Of the optimizer; None for what learns nothing.
        options: Everything else the task is told: width, epochs, ... JSON values only.
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
        nbytes: Stored bytes.
        full_nbytes: Bytes of the full fp32 table or tables; 0 where there is no table.
    """

    nbytes: int
    full_nbytes: int


@dataclass(frozen=True)
class Outcome:
    """What a task measured of one trained model.

    Attributes:
        metrics: Test metrics by name, the task's metric among them, and what else was measured of
            the trained model.
        valid: The task's metric on the validation part; every choice is made by it.
        size: Bytes really stored in the input embedding.
        output_nbytes: Stored bytes of the rest of the model.
        best_epoch: Epoch of the weights; 0 if nothing was learned.
        units: For metrics that are a mean over users, rows or documents: ``(units,)`` float32
            value of each, in an order that depends on the data only. These make intervals over
            units and paired tests. A metric like AUC has none.
    """

    metrics: Mapping[str, float]
    valid: float
    size: Size
    output_nbytes: int
    best_epoch: int = 0
    units: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What a sweep knows of a task.

    Attributes:
        name: Its name.
        metric: Name of the test metric that counts.
        accepts: Class of the data it works on, such as `memcom.data.Interactions`.
        run: ``run(setting, data, device) -> Outcome``: build, train, choose the epoch on
            validation, freeze the layer to what is stored, measure on test. ``device`` is
            ``"cpu"`` or ``"cuda:0"``. With one thread on a CPU the same setting gives the same
            numbers. Any exception is a failed trial.
        size: ``size(setting, data) -> Size``: the bytes planned, without building the model;
            raises `memcom.BudgetError` where the method cannot be that small.
        profiles: Options by profile, ``"fast"`` and ``"full"``. They hold ``learning_rates``, the
            grid that is tried; the rest goes to `Setting.options`. A spec may change any of these
            options and no others, so every option has a value here.
        higher_is_better: Direction of the metric.
        controls: Methods without a table, and so without ratio: ``popular``, ``bias-only``, ...
        untrained: Those of the controls that learn nothing: one trial each, no grid, no seeds.
        unit: What `Outcome.units` counts, in the singular, for headings.
        label: What to call the metric in headings, with options in braces, as in ``nDCG@{k}``;
            its name if empty.
        time: ``time(setting, data) -> {name: ratio}``: what a lookup and a training step of the
            method cost as a multiple of the full table's; None for a task that takes no times.
    """

    name: str
    metric: str
    accepts: type
    run: Callable[[Setting, Any, str], Outcome]
    size: Callable[[Setting, Any], Size]
    profiles: Mapping[str, Mapping[str, Any]]
    higher_is_better: bool = True
    controls: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    unit: str = "user"
    label: str = ""
    time: Callable[[Setting, Any], Mapping[str, float]] | None = None


def task_names() -> list[str]:
    """Names of the tasks that come with the kit."""
    return list(_KNOWN)


def get_task(name: str) -> Task:
    """The task of a name.

    Args:
        name: One of `task_names`, or ``"module:attribute"`` of a task of your own.

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
    task = getattr(import_module(module), attribute, None)
    if not isinstance(task, Task):
        raise ValueError(f"{name} is no task, it is {task!r}")
    return task
