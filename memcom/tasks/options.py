"""From a `Setting` to what a task is built of: options sorted by class, budgets, tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import torch

from memcom.budget import Plan, plan
from memcom.embeddings import CompressedEmbedding, Occurrences, learned_options, parse_spec
from memcom.tasks.protocol import Setting, Size


def sort_options(setting: Setting, *classes: type) -> list[Any]:
    """One object of each dataclass, from the options that it has.

    Args:
        setting: Its options, and its learning rate where there is one.
        *classes: Dataclasses whose fields have defaults.

    Returns:
        The objects, in the order of the classes.

    Raises:
        TypeError: None of the classes has an option.
    """
    given: dict[str, Any] = dict(setting.options)
    if setting.learning_rate is not None:
        given["learning_rate"] = setting.learning_rate
    made = []
    for cls in classes:
        own = {each.name for each in fields(cls)} & given.keys()
        taken = {name: given.pop(name) for name in own}
        made.append(cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in taken.items()}))
    if given:
        raise TypeError(f"task {setting.task} has no option {', '.join(sorted(given))}")
    return made


def default_options(
    learning_rates: list[float], *defaults: Any, **changes: Any
) -> Mapping[str, Any]:
    """Every option of some dataclass objects with its value, and the grid of learning rates.

    Args:
        learning_rates: What to try.
        *defaults: Dataclass objects.
        **changes: Options with another value.

    Returns:
        A profile, as `Task` holds it; JSON values only.
    """
    every: dict[str, Any] = {}
    for each in defaults:
        every |= asdict(each)
    every |= changes
    every.pop("learning_rate", None)
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in every.items()}
    return {"learning_rates": learning_rates, **plain}


def ratio_of(setting: Setting, full_nbytes: int) -> float | None:
    """The setting's budget as a ratio; a hair less than that of its bytes, so that all may be used.

    Bytes are whole numbers, so the hair never adds one.
    """
    if setting.nbytes is not None:
        return full_nbytes / setting.nbytes * (1 - 1e-12)
    return setting.ratio


def plan_table(setting: Setting, num_embeddings: int, embedding_dim: int) -> Plan:
    """The plan of a setting's one table.

    Args:
        setting: Method and budget.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.

    Returns:
        The plan.

    Raises:
        BudgetError: The method cannot be that small.
    """
    name, options = parse_spec(setting.method)
    ratio = ratio_of(setting, 4 * num_embeddings * embedding_dim)
    return plan(name, num_embeddings, embedding_dim, ratio=ratio, **options)


def build_table(planned: Plan, std: float, known: Occurrences) -> CompressedEmbedding:
    """The planned layer with sparse gradients, built with what its method learns from data.

    Args:
        planned: The plan.
        std: Standard deviation of the rows at the start.
        known: The training part.

    Returns:
        The layer.
    """
    learned = learned_options(planned.name, known, head=planned.arguments.get("head", 0))
    layer = planned.build(sparse=True, **learned)
    layer.reset_parameters(std)
    return layer


def planned_size(*plans: Plan) -> Size:
    """Bytes of planned tables together; none where there is no plan."""
    return Size(sum(each.nbytes for each in plans), sum(each.full_nbytes for each in plans))


class seeded:
    """Within it, torch draws from a seed; afterwards as if nothing had been drawn.

    Args:
        seed: The seed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> None:
        self._fork = torch.random.fork_rng(devices=[])
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)
