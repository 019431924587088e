"""The budget calculator as an explorer: which methods fit into a number of megabytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memcom.course.explorers.controls import Choice
from memcom.course.explorers.explorer import Explorer

_IDS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
_WIDTHS = (8, 16, 32, 64, 128, 256)
_BUDGETS = ("100 KB", "1 MB", "1.5 MB", "10 MB", "50 MB", "100 MB", "500 MB", "1 GB")
_OPTIMIZERS = ("sgd", "momentum", "adagrad", "adam")


def calculator(
    num_embeddings: int = 10_000_000,
    embedding_dim: int = 64,
    nbytes: str = "100 MB",
    optimizer: str = "adam",
) -> Explorer:
    """Return the budget calculator; its picture is `figures.budget_calculator`.

    Args:
        num_embeddings: Number of ids at the start; added to the choices where it is none of them.
        embedding_dim: Width of the vectors at the start, likewise.
        nbytes: Budget at the start, as text such as ``"10 MB"``, likewise.
        optimizer: One of sgd, momentum, adagrad, adam.

    Returns:
        The explorer.

    Raises:
        ValueError: The optimizer is unknown.
    """
    from memcom.budget import parse_nbytes
    from memcom.course.figures import budget_calculator, describe_budget_calculator

    ids, widths = _with(_IDS, num_embeddings), _with(_WIDTHS, embedding_dim)
    budgets = sorted(_with(_BUDGETS, nbytes), key=parse_nbytes)
    controls = {
        "num_embeddings": Choice("Ids", ids, num_embeddings, "rows of the full table"),
        "embedding_dim": Choice("Width", widths, embedding_dim, "numbers in a vector"),
        "nbytes": Choice("Budget", budgets, nbytes, "for what is stored"),
        "optimizer": Choice("Optimizer", _OPTIMIZERS, optimizer, "what training remembers"),
    }
    return Explorer(budget_calculator, controls, describe=describe_budget_calculator)


def _with(options: Sequence[Any], value: Any) -> list[Any]:
    """Return the options in ascending order, the value among them."""
    return sorted({*options, value})
