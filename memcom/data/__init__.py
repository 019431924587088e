"""Data sets: known ones by name, your own by path; ids by descending frequency, fixed splits.

>>> from memcom import data
>>> ratings = data.load("movielens")
>>> ratings.num_items
9066
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memcom.data.containers import TEST, TRAIN, VALID, Interactions, LabelledBags, LabelledRows
from memcom.data.movielens import load_movielens
from memcom.data.obtain import ChecksumError, DownloadError, fetch
from memcom.data.registry import describe, registry

__all__ = [
    "TEST",
    "TRAIN",
    "VALID",
    "ChecksumError",
    "DownloadError",
    "Interactions",
    "LabelledBags",
    "LabelledRows",
    "describe",
    "fetch",
    "load",
    "names",
]

_LOADERS: dict[str, Callable[..., Any]] = {
    "movielens": load_movielens,
}


def names() -> list[str]:
    """The names `load` knows.

    Returns:
        The names, in the order of the registry.
    """
    return list(registry())


def load(name: str | Path, **options: Any) -> Any:
    """Load a data set.

    Args:
        name: one of `names`.
        options: what the set's loader takes.

    Returns:
        `Interactions`, `LabelledRows` or `LabelledBags`.

    Raises:
        ValueError: if there is no such set.
        TypeError: if the set has no such option; the message lists those there are.
    """
    if str(name) not in _LOADERS:
        raise ValueError(f"no data set is called {name!r}; there are {', '.join(names())}")
    loader = _LOADERS[str(name)]
    known = inspect.signature(loader).parameters
    for option in options:
        if option not in known:
            there = ", ".join(known) or "none"
            raise TypeError(f"{name} has no option {option!r}; there are: {there}")
    return loader(**options)
