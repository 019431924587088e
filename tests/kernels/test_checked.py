"""The kernels' tests again, with the kernels in their checked mode."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

TESTS = Path(__file__).parents[1]
SUITE = [
    "kernels/cpu",
    "kernels/test_assembly.py",
    "kernels/test_gate.py",
    "embeddings/test_bag.py",
    "embeddings/test_hostile_bags.py",
    "test_optim.py",
]


@pytest.mark.ci
def test_no_kernel_leaves_its_memory():
    tests = [str(TESTS / name) for name in SUITE]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=TESTS.parent,
        env={**os.environ, "MEMCOM_CHECK_KERNELS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 300
    assert "needs MEMCOM_CHECK_KERNELS" not in run.stdout  # nothing was left out
