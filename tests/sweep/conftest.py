from __future__ import annotations

import pytest

from memcom.data import load


@pytest.fixture(scope="session")
def data():
    return load("synthetic", num_users=60, num_items=100)
