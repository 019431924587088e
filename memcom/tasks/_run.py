"""The steps that all tasks share, from a setting to its outcome.

    options -> plans -> tables -> model -> prepare -> fit -> freeze -> measure -> outcome

A task is a subclass of `TaskRun`: it gives the plans, builds, fits and measures its model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from memcom.budget import BudgetError, Plan, plan
from memcom.embeddings import (
    CompressedEmbedding,
    Occurrences,
    learned_options,
    parse_spec,
    prepare,
)
from memcom.kernels import warm_up
from memcom.tasks._fit import FitRecord, seeded
from memcom.tasks._forms import Form
from memcom.tasks._model import TaskModel
from memcom.tasks.protocol import Outcome, Setting, Size


class TaskRun:
    """One setting of a task on one data set.

    A subclass defines the methods from `plans` to `measure`.

    Args:
        setting: The setting.
        data: The data set.
        device: Device to train on.

    Attributes:
        options: Dataclasses of the model's and the training's options, every field with a default.
        controls: Methods without a table.
        sign: -1 if lower values of the task's metric are better.
        sparse: Tables give sparse gradients.
        shape: The setting's options of the model.
        training: The setting's options of the training.

    Raises:
        TypeError: The task has no such option.
    """

    options: ClassVar[tuple[type, type]]
    controls: ClassVar[tuple[str, ...]]
    sign: ClassVar[int] = 1
    sparse: ClassVar[bool] = True

    def __init__(self, setting: Setting, data: Any, device: str = "cpu") -> None:
        self.setting, self.data, self.device = setting, data, device
        self.shape, self.training = sort_options(setting, *self.options)
        self._pretrained: dict[int, dict[str, Tensor]] = {}

    @classmethod
    def run(cls, setting: Setting, data: Any, device: str = "cpu") -> Outcome:
        """Build, train, freeze and measure one model; see `Task.run`."""
        return cls(setting, data, device).outcome()

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option is out of its range; see `Task.check`."""
        sort_options(Setting("", "full", options=options), *cls.options)

    @classmethod
    def size(cls, setting: Setting, data: Any) -> Size:
        """Return the planned bytes of all tables; see `Task.size`."""
        run = cls(setting, data)
        return _total({} if setting.method in cls.controls else run.plans())

    # --- what a task defines ---

    def plans(self) -> dict[str, Plan]:
        """Return the plan of each table, in the order of the model's tables."""
        raise NotImplementedError

    def occurrences(self, table: str) -> Occurrences:
        """Return which ids of a table occur where in the training part."""
        raise NotImplementedError

    def table(self, planned: Plan, **learned: Any) -> CompressedEmbedding:
        """Build one table, with rows of standard deviation `shape.std`."""
        table = planned.build(sparse=self.sparse, **learned)
        if self.shape.std != 1:  # rows of a new table have 1
            table.reset_parameters(self.shape.std)
        return table

    def control(self) -> TaskModel:
        """Build the model of a control."""
        raise NotImplementedError

    def model(self, tables: dict[str, CompressedEmbedding]) -> TaskModel:
        """Build the untrained model around its tables."""
        raise NotImplementedError

    def fit(self, model: Any) -> FitRecord:
        """Train a model; its score is the task's metric times `sign`."""
        raise NotImplementedError

    def validate(self, model: Any) -> float:
        """Return the task's metric times `sign` on the validation part."""
        raise NotImplementedError

    def measure(self, model: Any) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return the test metrics of a frozen model: values by unit, and other metrics."""
        raise NotImplementedError

    # --- the same for all tasks ---

    def outcome(self) -> Outcome:
        """Build, train, freeze and measure one model; of a full table its compressed forms, too.

        The compiled lookups are loaded first. Else the first small batches of a process would take
        the plain path, whose sums are rounded in another order, and the last digits of a trial
        would depend on what ran before it.
        """
        warm_up()
        model = self.prepared()
        record = self.fit(model)
        model.freeze_tables()
        outcome, derived = self._measured(model, record), {}
        for form in self._forms():
            try:
                compressed = self._compressed(model, form)
            except BudgetError:
                continue
            own = replace(record, valid=self.validate(compressed))
            derived[form.name] = self._measured(compressed, own)
        return replace(outcome, derived=derived)

    def _forms(self) -> list[Form]:
        """The forms that the trained tables are measured in, too: those of full tables alone."""
        if self.setting.method != "full":
            return []
        return [Form.of(text) for text in getattr(self.training, "forms", ())]

    def _compressed(self, model: Any, form: Form) -> Any:
        """A copy of a model with its trained tables in another form, fitted and frozen."""
        asked = replace(self.setting, method=form.spec, ratio=form.ratio, nbytes=None)
        plans = type(self)(asked, self.data).plans()
        copied = copy.deepcopy(model)
        for (name, planned), (place, table) in zip(
            plans.items(), copied.tables().items(), strict=True
        ):
            weights = self.occurrences(name).counts.clamp(min=1)
            rows = table.materialize()
            layer = planned.build().to(rows.device)
            layer.fit_table(rows, weights, seed=self.setting.seed)
            copied.set_submodule(place, layer.freeze())
        return copied

    def _measured(self, model: TaskModel, record: FitRecord) -> Outcome:
        units, others = self.measure(model)
        return Outcome(
            metrics=mean_metrics(units) | others,
            valid=self.sign * record.valid,
            size=Size(model.input_nbytes, self.planned.full_nbytes),
            output_nbytes=model.output_nbytes,
            best_epoch=record.best_epoch,
            units=units,
        )

    def prepared(self) -> TaskModel:
        """Build the untrained model; its tables have learned what they need beforehand."""
        if self.setting.method in self.controls:
            self.planned = _total({})
            with seeded(self.setting.seed):
                return self.control().to(self.device)
        plans = self.plans()
        self.planned = _total(plans)
        model = self.build(plans)
        for name, table in zip(plans, model.tables().values(), strict=True):
            narrow = partial(self._narrow_table, name)
            prepare(table, self.occurrences(name), narrow, seed=self.setting.seed)
        return model

    def build(self, plans: Mapping[str, Plan]) -> Any:
        """Build the untrained model of some plans; the seed of the setting alone decides it."""
        with seeded(self.setting.seed):
            tables = {name: self._table(name, planned) for name, planned in plans.items()}
            return self.model(tables).to(self.device)

    def _table(self, name: str, planned: Plan) -> CompressedEmbedding:
        head = planned.arguments.get("head", 0)
        learned = learned_options(planned.name, self.occurrences(name), head=head)
        return self.table(planned, **learned)

    def _narrow_table(self, name: str, width: int) -> Tensor:
        """Rows of a full table of ``width`` columns, trained at the same task."""
        if width not in self._pretrained:
            plans = {
                table: plan("full", planned.num_embeddings, width)
                for table, planned in self.plans().items()
            }
            model = self.build(plans)
            self.fit(model)
            rows = [table.materialize() for table in model.tables().values()]
            self._pretrained[width] = dict(zip(plans, rows, strict=True))
        return self._pretrained[width][name]


def sort_options(setting: Setting, *classes: type) -> list[Any]:
    """Return an object of each dataclass from the options it has; all have to be used."""
    given: dict[str, Any] = dict(setting.options)
    if setting.learning_rate is not None:
        given["learning_rate"] = setting.learning_rate
    made = []
    for cls in classes:
        own = {each.name for each in fields(cls)} & given.keys()
        taken = {name: given.pop(name) for name in own}
        made.append(cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in taken.items()}))
    if given:
        raise TypeError(f"task {setting.task} has no option {', '.join(sorted(given))}")
    return made


def default_options(
    learning_rates: list[float], *defaults: Any, **changes: Any
) -> Mapping[str, Any]:
    """Return a profile of a `Task`: the grid of learning rates, and a JSON value per option."""
    every: dict[str, Any] = {}
    for each in defaults:
        every |= asdict(each)
    every |= changes
    every.pop("learning_rate", None)
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in every.items()}
    return {"learning_rates": learning_rates, **plain}


def asked_ratio(setting: Setting, full_nbytes: int) -> float | None:
    """Return the setting's budget as a compression ratio, None without a budget.

    A budget in bytes is rounded down by 1e-12, so that float error never costs its last byte.
    """
    if setting.nbytes is not None:
        return full_nbytes / setting.nbytes * (1 - 1e-12)
    return setting.ratio


def plan_table(setting: Setting, num_embeddings: int, embedding_dim: int) -> Plan:
    """Plan the one table of a setting; raises `memcom.BudgetError` where it cannot be so small."""
    name, options = parse_spec(setting.method)
    ratio = asked_ratio(setting, 4 * num_embeddings * embedding_dim)
    return plan(name, num_embeddings, embedding_dim, ratio=ratio, **options)


def mean_metrics(units: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the mean of each metric over its units."""
    return {name: float(values.mean(dtype="float64")) for name, values in units.items()}


def _total(plans: Mapping[str, Plan]) -> Size:
    nbytes = sum(each.nbytes for each in plans.values())
    return Size(nbytes, sum(each.full_nbytes for each in plans.values()))
