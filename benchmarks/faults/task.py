"""A task whose numbers come from a hash of its setting, and that says when it starts and ends.

FAULTS_LOG names a file that gets a line ``start <trial> <process>`` and later ``end ...``;
FAULTS_SLEEP is the time a trial takes, in seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from memcom.data import Interactions
from memcom.tasks import Outcome, Setting, Size, Task, get_task


def run(setting: Setting, data: Interactions, device: str) -> Outcome:
    """Return numbers that the setting alone decides, after some time."""
    digest = hashlib.sha256(json.dumps(asdict(setting), sort_keys=True).encode()).hexdigest()
    _log("start", digest)
    time.sleep(float(os.environ.get("FAULTS_SLEEP", "0")))
    rng = np.random.default_rng(int(digest[:8], 16))
    units = rng.random(setting.options["units"], np.float32)
    outcome = Outcome(
        metrics={"score": float(units.mean())},
        valid=float(rng.random()),
        size=size(setting, data),
        output_nbytes=0,
        units={"score": units},
    )
    _log("end", digest)
    return outcome


def size(setting: Setting, data: Any) -> Size:
    """Return the bytes of the ranking task's table of 16 columns."""
    plain = replace(setting, learning_rate=None, options={"embedding_dim": 16})
    return get_task("ranking").size(plain, data)


def _log(what: str, digest: str) -> None:
    if path := os.environ.get("FAULTS_LOG"):
        with open(path, "a") as file:
            file.write(f"{what} {digest} {os.getpid()}\n")


TASK = Task(
    name="faults",
    metric="score",
    accepts=Interactions,
    run=run,
    size=size,
    profiles={"full": {"learning_rates": [0.1, 0.2], "units": 200}},
    controls=("popular",),
    untrained=("popular",),
)
