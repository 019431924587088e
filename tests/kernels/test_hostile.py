"""Random sequences of hostile actions, compiled and plain, in a process that a fault may end."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from tests.kernels.hostile import ACTIONS, SPECS

ROOT = Path(__file__).parents[2]
EXAMPLES = 300 if os.environ.get("CI") else 60


class Child:
    """A process that takes sequences of actions; a new one is started after a fault."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def take(self, actions):
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.kernels.hostile"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.process.stdin.write(json.dumps(actions) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            process, self.process = self.process, None
            _, errors = process.communicate()
            pytest.fail(f"exit code {process.returncode} after {actions}\n{errors[-3000:]}")
        return json.loads(answer)

    def end(self) -> None:
        if self.process is not None:
            self.process.communicate()


@pytest.fixture(scope="module")
def child():
    child = Child()
    yield child
    child.end()


def calls(name, sizes):
    return st.tuples(st.just(name), *(st.integers(0, size - 1) for size in sizes))


# Most faults lie in what happens between a forward and its backward pass, or between that and a
# step, so these come together more often than by chance.
ANY = st.one_of(*(calls(name, sizes) for name, sizes in ACTIONS.items()))
READ = st.one_of(calls("lookup", ACTIONS["lookup"]), calls("bag", ACTIONS["bag"]))
BACKWARD = calls("backward", ACTIONS["backward"])
PIECE = st.one_of(
    st.tuples(ANY),
    st.tuples(READ, ANY, BACKWARD),
    st.tuples(calls("optimizer", ACTIONS["optimizer"]), READ, BACKWARD, ANY, calls("step", ())),
)
SEQUENCES = st.builds(
    lambda first, pieces: [first, *itertools.chain(*pieces)],
    calls("rebuild", ACTIONS["rebuild"]),
    st.lists(PIECE, min_size=1, max_size=5),
)


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_hostile_actions_end_as_they_do_plainly(child, actions):
    answer = child.take(actions)
    assert not answer["wrong"], f"{SPECS[actions[0][1]]}, {actions}"
