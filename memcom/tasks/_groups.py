"""Parameters of a model in groups, each with its learning rate and weight decay.

    rows      what the embedding stores, but for its own weights
    weights   the embedding's own weights: multipliers and biases per id, thresholds
    dense     everything else: dense layers, output vectors, biases

An embedding says on its class which parameters are its own weights, and which must not decay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from memcom._check import choice
from memcom.embeddings import CompressedEmbedding

GROUPS = ("rows", "weights", "dense")
RATES = ("learning_rate", "weight_decay")


def check_rates(rates: Mapping[str, float], group: str = "") -> None:
    """Refuse a learning rate that is not > 0, a weight decay that is not >= 0, and other names."""
    for name, value in rates.items():
        choice(f"an option of {group}", name, RATES)
        least = 0.0 if name == "weight_decay" else math.ulp(0.0)
        if not least <= value < math.inf:
            limit = "> 0" if least else ">= 0"
            label = f"{group} {name}".strip()
            raise ValueError(f"{label} must be {limit} and finite, got {value}")


def grouped(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters that are learned, by the name of their group; groups may be empty."""
    of = dict.fromkeys(model.parameters(), "dense")
    embeddings = [m for m in model.modules() if isinstance(m, CompressedEmbedding | nn.Embedding)]
    for embedding in embeddings:
        of |= dict.fromkeys(embedding.parameters(), "rows")
    of |= dict.fromkeys(_declared(embeddings, "own_weights"), "weights")
    return {name: [p for p in of if of[p] == name and p.requires_grad] for name in GROUPS}


def optimizer_groups(
    model: nn.Module, common: Mapping[str, float], own: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Return the learned parameters as an optimizer takes them, in groups that are not empty.

    Two kinds have no decay: parameters that an embedding declares ``undecayed``, and vectors of the
    dense group, which are biases and the scales of batch norm.

    Args:
        model: The model.
        common: ``learning_rate`` and ``weight_decay`` of all groups.
        own: By the name of a group, what it has instead.

    Returns:
        Dicts with ``params``, ``lr`` and ``weight_decay``.
    """
    undecayed = _declared(model.modules(), "undecayed")
    found = []
    for name, parameters in grouped(model).items():
        rates = {**common, **own[name]}
        split: dict[float, list[nn.Parameter]] = {}
        for each in parameters:
            spared = each in undecayed or (name == "dense" and each.ndim < 2)
            split.setdefault(0.0 if spared else rates["weight_decay"], []).append(each)
        rate = rates["learning_rate"]
        found += [{"params": ps, "lr": rate, "weight_decay": decay} for decay, ps in split.items()]
    return found


def _declared(modules: Iterable[nn.Module], attribute: str) -> set[nn.Parameter]:
    """The parameters that the classes of the modules name in an attribute."""
    named = ((m, name) for m in modules for name in getattr(type(m), attribute, ()))
    return {found for m, name in named if (found := getattr(m, name)) is not None}
