"""What every test shares: no network, fixed seeds, no screen, real data only where it is."""

from __future__ import annotations

import os
import random
import socket
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")
# Test workers share the cores; threads that wait in a loop for theirs would slow all of them down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No result may depend on when a compilation in the background ended.
os.environ.setdefault("MEMCOM_COMPILE", "foreground")

import numpy as np
import pytest
import torch
from hypothesis import settings

# Drawn examples are the same in every run; a first example may have to compile something.
settings.register_profile("memcom", deadline=None, derandomize=True)
settings.load_profile("memcom")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked ``ci`` on a working day; skip ``realdata`` where data is missing."""
    if not (os.environ.get("CI") or "ci" in config.option.markexpr):
        left_out = [item for item in items if item.get_closest_marker("ci")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("ci")]
    from memcom.data.registry import data_root

    for item in items:
        for marker in item.iter_markers("realdata"):
            missing = [name for name in marker.args if not (data_root() / name).is_dir()]
            if missing:
                reason = f"{', '.join(missing)} not in {data_root()} (set MEMCOM_DATA)"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _same_seeds() -> None:
    """No test depends on which ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (libraries under test may use the global generator)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine answers; a test that needs the network fails at once, saying so."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if host not in ("", "localhost", "::1") and not host.startswith("127."):
            raise OSError(f"tests have no network, but one connects to {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
