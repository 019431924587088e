"""What a sweep may rely on, for every task that comes with the kit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from memcom import BudgetError
from memcom.tasks import Setting, Task, get_task, task_names
from memcom.tasks.clicks import ClickRun
from tests.tasks.data import clicks, events, planted, texts

# Little effort, on little data: name -> (data, changes to the options of the fast profile).
SMALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "ranking": (planted, {"embedding_dim": 8, "epochs": 2}),
    "pairwise": (planted, {"embedding_dim": 8, "epochs": 2, "hidden": [4]}),
    "text": (texts, {"embedding_dim": 8, "epochs": 2, "hidden": [4]}),
    "clicks": (clicks, {"embedding_dim": 8, "epochs": 1, "threshold": 10, "top": [4]}),
    "streaming": (events, {"embedding_dim": 8, "epochs": 1, "segments": 3, "valid_segments": 1}),
}
TASKS = task_names()


def options(task: Task, profile: str = "fast") -> dict[str, Any]:
    changes = SMALL[task.name][1]
    every = {k: v for k, v in task.profiles[profile].items() if k != "learning_rates"}
    assert changes.keys() <= every.keys()
    return {**every, **changes}


def setting(task: Task, method: str, seed: int = 0, **budget: Any) -> Setting:
    rate = None if method in task.untrained else task.profiles["fast"]["learning_rates"][0]
    return Setting(
        task.name, method, seed=seed, learning_rate=rate, options=options(task), **budget
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_profile_is_json_and_every_option_of_it_is_known(name: str) -> None:
    task = get_task(name)
    data = SMALL[name][0]()
    for profile in ("fast", "full"):
        assert json.loads(json.dumps(task.profiles[profile])) == dict(task.profiles[profile])
        known = Setting(name, "full", options=options(task, profile))
        assert task.size(known, data).nbytes > 0
    unknown = Setting(name, "full", options={**options(task), "colour": 1})
    with pytest.raises(TypeError, match="colour"):
        task.size(unknown, data)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("method", ["full", "memcom", "hash", "qr(bits=8)"])
def test_bytes_are_as_planned_and_within_the_budget(name: str, method: str) -> None:
    task = get_task(name)
    data = SMALL[name][0]()
    full = task.size(setting(task, "full"), data)
    assert full.nbytes == full.full_nbytes
    for budget in [{}] if method == "full" else [{"ratio": 3.0}, {"nbytes": full.nbytes // 2}]:
        asked = setting(task, method, **budget)
        planned = task.size(asked, data)
        assert planned.full_nbytes == full.nbytes
        if budget:
            assert planned.nbytes <= budget.get("nbytes", full.nbytes / 3)
        outcome = task.run(asked, data, "cpu")
        assert outcome.size == planned


@pytest.mark.parametrize("name", TASKS)
def test_an_outcome_is_complete_and_repeatable(name: str) -> None:
    task = get_task(name)
    assert isinstance(SMALL[name][0](), task.accepts)
    outcomes = [
        task.run(setting(task, "memcom", seed, ratio=2.0), SMALL[name][0](), "cpu")
        for seed in (0, 0, 1)
    ]
    once, again, other = outcomes
    assert task.metric in once.metrics
    assert once.metrics == again.metrics
    assert once.valid == again.valid
    assert once.metrics != other.metrics
    assert once.output_nbytes > 0
    assert once.best_epoch >= 1
    assert task.metric in once.units
    for unit, values in once.units.items():
        assert values.dtype == np.float32
        assert np.mean(values, dtype=np.float64) == pytest.approx(once.metrics[unit])
        assert values.shape == other.units[unit].shape


@pytest.mark.parametrize("name", TASKS)
def test_controls_have_no_table_and_untrained_ones_no_seed(name: str) -> None:
    task = get_task(name)
    data = SMALL[name][0]()
    assert set(task.untrained) <= {*task.controls, *task.references}
    for control in task.controls:
        assert tuple(task.size(setting(task, control), data)) == (0, 0)
        torch.manual_seed(1)
        outcome = task.run(setting(task, control), data, "cpu")
        torch.manual_seed(2)
        assert task.run(setting(task, control), data, "cpu").metrics == outcome.metrics
        assert tuple(outcome.size) == (0, 0)
        if control in task.untrained:
            assert outcome.best_epoch == 0
            assert outcome.metrics == task.run(setting(task, control, 5), data, "cpu").metrics


@pytest.mark.parametrize("name", TASKS)
def test_a_method_that_cannot_be_so_small_says_so_before_anything_is_trained(name: str) -> None:
    task = get_task(name)
    with pytest.raises(BudgetError):
        task.size(setting(task, "memcom", ratio=9.0), SMALL[name][0]())


def test_the_click_task_keeps_small_tables_full_and_has_two_models() -> None:
    task = get_task("clicks")
    data = clicks()
    made = {}
    for model in ("dlrm", "dcn"):
        asked = setting(task, "hash", ratio=2.0)
        asked = replace(asked, options={**asked.options, "model": model})
        made[model] = task.run(asked, data, "cpu").output_nbytes
    assert made["dlrm"] != made["dcn"]
    # The 30 and 60 ids are compressed, the 4 are not: 10 is the threshold.
    every = ClickRun(setting(task, "hash", ratio=2.0), data).plans()
    assert [each.name for each in every.values()] == ["full", "hash", "hash"]
    with pytest.raises(ValueError, match=r"model.*'fm'"):
        task.run(replace(asked, options={**asked.options, "model": "fm"}), data, "cpu")
