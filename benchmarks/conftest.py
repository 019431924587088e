"""Shared set-up: threads, and fresh ids for every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from memcom import kernels
from memcom.benchmark.methods import draw_ids

NUM_EMBEDDINGS, EMBEDDING_DIM = 1_000_000, 64
BATCHES = (1, 4_096, 65_536)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torch-threads", type=int, default=1, help="threads of torch (default 1)")


@pytest.fixture(autouse=True, scope="session")
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.config.getoption("--torch-threads"))
    kernels.warm_up()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pool() -> Tensor:
    """Zipf ids, enough that no cache remembers the rows of one batch at its next turn."""
    return draw_ids("zipf", NUM_EMBEDDINGS, 32 * max(BATCHES))


@pytest.fixture
def timed(benchmark: Any, pool: Tensor) -> Callable[[Callable[[Tensor], object], int], None]:
    """Time a function of a batch of ids; every round has ids of its own."""

    def run(function: Callable[[Tensor], object], batch: int) -> None:
        batches = pool.view(-1, batch)
        turn = iter(range(10**9))

        def fresh() -> tuple[tuple[Tensor], dict[str, Any]]:
            return (batches[next(turn) % len(batches)],), {}

        benchmark.extra_info["threads"] = torch.get_num_threads()
        benchmark.pedantic(function, setup=fresh, rounds=100, warmup_rounds=5)

    return run
