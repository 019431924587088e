"""The sizes of a notebook, all derived from its parameter ``PROFILE``.

A dozen ``if FAST`` lines end up with one that was forgotten; `profile` gives every size instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memcom.course.build.parameters import check_running_notebook


@dataclass(frozen=True)
class Profile:
    """Sizes for one run of a notebook.

    Attributes:
        name: ``"fast"`` or ``"full"``.
        data: Name of the data set to train on (see `memcom.data.load`).
        embedding_dim: Width of an embedding.
        batch_size: Users per training step.
        epochs: Most epochs to train.
        patience: Epochs without a better validation score before training stops.
        learning_rate: Step size of the optimizer.
        ratio: The compression ratio of a notebook that looks at one.
        ratios: The compression ratios of a notebook that compares several, ascending.
        seeds: One training run for each.
        synthetic_ids: Number of ids in made-up data.
        pairs: Number of random pairs of ids to look at where all pairs are too many.
    """

    name: str
    data: str
    embedding_dim: int
    batch_size: int
    epochs: int
    patience: int
    learning_rate: float
    ratio: float
    ratios: tuple[float, ...]
    seeds: tuple[int, ...]
    synthetic_ids: int
    pairs: int


_FAST = Profile(
    name="fast",
    data="movielens",
    embedding_dim=64,
    batch_size=128,
    epochs=25,
    patience=25,
    learning_rate=1e-2,
    ratio=16.0,
    ratios=(4.0, 16.0),
    seeds=(0,),
    synthetic_ids=100_000,
    pairs=10_000,
)
_FULL = dataclasses.replace(
    _FAST,
    name="full",
    epochs=150,
    patience=40,
    ratios=(2.0, 4.0, 8.0, 16.0, 32.0),
    seeds=(0, 1, 2),
    synthetic_ids=1_000_000,
    pairs=1_000_000,
)
PROFILES = {"fast": _FAST, "full": _FULL}


def profile(name: str, **changes: Mapping[str, Any]) -> Profile:
    """Return the sizes of a run; in a notebook, check its parameters, too.

    Args:
        name: ``"fast"`` (a whole notebook in seconds) or ``"full"`` (in minutes).
        **changes: A notebook's own sizes, each for both profiles:
            ``epochs={"fast": 5, "full": 50}``.

    Returns:
        The sizes.

    Raises:
        ValueError: The profile is unknown, a change does not name every profile, or a parameter of
            the notebook is out of the range that its comment states.
        TypeError: A change is no field of `Profile`, or a parameter is of another type.
    """
    check_running_notebook()
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; it must be one of {', '.join(PROFILES)}")
    for field, values in changes.items():
        if set(values) != set(PROFILES):
            raise ValueError(
                f"{field} needs a value for every profile ({', '.join(PROFILES)}), "
                f"not for {', '.join(values) or 'none'}"
            )
    return dataclasses.replace(
        PROFILES[name], **{field: values[name] for field, values in changes.items()}
    )
