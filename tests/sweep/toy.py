"""A task that costs next to nothing: numbers drawn from a hash of the setting.

Environment variables steer it: TOY_LOG is a file that gets a line per trial that is run, TOY_FAIL
a method that fails, or * for all, TOY_KILL a folder: two trials of the method `truncate` kill their
process unless they find a file named after them there, which they leave behind first.
TOY_KILL_ALWAYS names a method that always kills its process. With TOY_DERIVED the full table has an
outcome derived from it, of half its bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from memcom.budget import BudgetError
from memcom.data import Interactions
from memcom.sweep import Spec
from memcom.tasks import Outcome, Setting, Size, Task, get_task

FAILURE = "as it was told to"


def run(setting: Setting, data: Interactions, device: str) -> Outcome:
    text = json.dumps(asdict(setting), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if log := os.environ.get("TOY_LOG"):
        with open(log, "a") as file:
            file.write(digest + "\n")
    if os.environ.get("TOY_FAIL") in (setting.method, "*"):
        raise RuntimeError(FAILURE)
    if setting.method == os.environ.get("TOY_KILL_ALWAYS"):
        os.kill(os.getpid(), signal.SIGKILL)
    doomed = (setting.method, setting.ratio, setting.seed) == ("truncate", 2.0, 0)
    if doomed and (folder := os.environ.get("TOY_KILL")):
        mark = Path(folder) / digest
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    rng = np.random.default_rng(int(digest[:8], 16))
    for _ in range(setting.options["work"]):
        np.sort(rng.random(100_000))
    units = rng.random(50).astype(np.float32) + {"full": 1.0, "popular": -0.5}.get(
        setting.method, 0
    )
    outcome = Outcome(
        metrics={"score": float(units.mean()), "other": 1.0},
        valid=float(rng.random()),
        size=toy_size(setting, data),
        output_nbytes=100,
        best_epoch=int(rng.integers(1, setting.options["epochs"] + 1)),
        units={"score": units},
    )
    if os.environ.get("TOY_DERIVED") and setting.method == "full":
        half = replace(outcome, size=Size(outcome.size.nbytes // 2, outcome.size.full_nbytes))
        return replace(outcome, derived={"halved": half})
    return outcome


def toy_size(setting: Setting, data: Any) -> Any:
    if setting.method in TASK.references:
        if setting.method == "too-large":
            raise BudgetError("too-large is too large")
        return Size(1000, 0)
    options = {"embedding_dim": setting.options["embedding_dim"]}
    return get_task("ranking").size(replace(setting, learning_rate=None, options=options), data)


TASK = Task(
    name="toy",
    metric="score",
    accepts=Interactions,
    run=run,
    size=toy_size,
    profiles={
        "fast": {"learning_rates": [0.1, 0.2], "embedding_dim": 16, "epochs": 3, "work": 0},
        "full": {"learning_rates": [0.1], "embedding_dim": 16, "epochs": 3, "work": 1},
    },
    controls=("popular",),
    references=("still", "random", "too-large"),
    untrained=("popular", "still"),
)
NAME = "tests.sweep.toy:TASK"


def toy_time(setting: Setting, data: Any) -> dict[str, float]:
    return {"lookup_time": 0.5, "step_time": 2.0}


TIMED = replace(TASK, time=toy_time)

METHODS = ("hash", "memcom")
# (small-dim, low-rank, truncate, hash, memcom) x 2 ratios and full, each 2 rates and 2 more seeds;
# popular learns nothing and is one trial.
NUM_TRIALS = (5 * 2 + 1) * (2 + 2) + 1


def spec(**changes: Any) -> Spec:
    fields = {"data": "synthetic", "task": NAME, "methods": METHODS, "ratios": (2, 4)}
    return Spec(**fields | {"profile": "fast"} | changes)


def contents(folder: Path) -> dict[str, Any]:
    """Every trial's file with its text, but for times and load."""
    found = {}
    for path in (folder / "trials").rglob("*"):
        if path.is_file():
            content = json.loads(path.read_text())
            content["seconds"] = content["about"]["finished"] = content["about"]["load"] = None
            content["digest"] = None
            found[str(path.relative_to(folder))] = json.dumps(content)
    return found


def runs(log: Path) -> Counter[str]:
    """How often each trial was run, from the file that TOY_LOG names."""
    return Counter(log.read_text().split())
