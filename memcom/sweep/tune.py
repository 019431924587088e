"""The tuning stage: candidates that every row of a sweep tries, before validation chooses one.

Without a budget the candidates are all combinations of the listed values, a grid. With one they are
drawn as a Latin hypercube (McKay, Beckman, Conover, Technometrics 21, 1979): the range of each
option is cut into as many equal parts as there are candidates, and each part is tried once. They
depend on the space and the seed alone, so that every row has the same candidates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from memcom.sweep import _values

MAX_BUDGET = 1000


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low: Above 0 if ``log``.
        high: Above ``low``.
        log: Draw the logarithm uniformly, not the number.
    """

    low: float
    high: float
    log: bool = True

    @classmethod
    def of(cls, name: str, value: Mapping[str, Any]) -> Range:
        """Return a range from ``{"low": ..., "high": ..., "log": ...}``; raises ValueError."""
        if not {"low", "high"} <= value.keys() <= set(cls._fields):
            raise ValueError(f"{name} must have low, high and at most log, got {dict(value)!r:.80}")
        log = _values.like(f"{name} log", True, value.get("log", True))
        low = _values.number(f"{name} low", value["low"], *([0.0] if log else []), above=log)
        high = _values.number(f"{name} high", value["high"], low, above=True)
        return cls(low, high, log)

    def at(self, share: float) -> float:
        """Return the number at a share of the range in [0, 1), to three digits."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else self[:2]
        number = low + share * (high - low)
        return float(f"{math.exp(number) if self.log else number:.3g}")

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (" by logarithm" if self.log else "")


Space = Mapping[str, tuple[Any, ...] | Range]


@dataclass(frozen=True)
class Tune:
    """A tuning stage: the options that validation chooses for each row. Checked on construction.

    Attributes:
        space: Option -> values to try, or a `Range`; ``learning_rate`` is one of the options, and
            ``weights.weight_decay`` the option of a group.
        budget: Trials of each row that are drawn; None for all combinations of the values.
        also: Candidates besides, each a value for every option of the space and for
            ``learning_rate``. A setting that is known to be good belongs here: of a few drawn ones
            all can be worse.
        seed: Seed of the draws.
        epochs: Epochs of these trials; None for those of the options. With fewer, the chosen
            candidate is trained anew with the first seed, too.
        finalists: Of trials with fewer epochs the best so many are trained for all epochs with the
            first seed, and validation chooses among those. Short trials alone can mislead: the
            candidate that is best early need not be the best in the end.

    Raises:
        ValueError: A value makes no sense, there is a range and no budget, or there are finalists
            though the trials have all epochs anyway.
    """

    space: Space = field(default_factory=dict)
    budget: int | None = None
    seed: int = 0
    epochs: int | None = None
    finalists: int = 1
    also: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        space = {}
        for name, values in flattened(_values.table("tune space", self.space)).items():
            label = f"tune {name}"
            if isinstance(values, Range):
                values = values._asdict()
            if isinstance(values, Mapping):
                values = Range.of(label, values)
            else:
                values = tuple(_values.listed(label, values, "values, or have low and high"))
                if not values:
                    raise ValueError(f"{label} must have at least one value to try")
            space[name] = values
        object.__setattr__(self, "space", space)  # the dataclass is frozen
        also = _values.listed("tune also", self.also, "tables of values")
        also = [flattened(_values.table("each of tune also", each)) for each in also]
        object.__setattr__(self, "also", tuple(also))
        for each in also:
            if unlike := each.keys() ^ {*space, "learning_rate"}:
                names = ", ".join(sorted(unlike))
                raise ValueError(f"each of tune also has the options of the space: not so {names}")
        for name, low, high in (("budget", 1, MAX_BUDGET), ("epochs", 1, 10**9)):
            if getattr(self, name) is not None:
                _values.whole(f"tune {name}", getattr(self, name), low, high)
        _values.whole("tune finalists", self.finalists, 1, MAX_BUDGET)
        if self.finalists > 1 and self.epochs is None:
            raise ValueError("tune finalists needs tune epochs: the trials have all epochs anyway")
        _values.whole("tune seed", self.seed, 0, 2**32 - 1)
        ranges = [name for name, values in space.items() if isinstance(values, Range)]
        if ranges and self.budget is None:
            raise ValueError(f"tune has a range for {', '.join(ranges)}, so it needs a budget")

    @classmethod
    def of(cls, value: Any) -> Tune:
        """Return the stage of a table with these fields."""
        if isinstance(value, Tune):
            return value
        content = _values.table("tune", value)
        if unknown := content.keys() - {each.name for each in fields(cls)}:
            raise ValueError(f"tune has no field {', '.join(sorted(unknown))}")
        return cls(**content)

    def candidates(self) -> list[dict[str, Any]]:
        """Return the candidates, each a value by option; those of ``also`` come first."""
        return [*map(dict, self.also), *self._of_space()]

    def _of_space(self) -> list[dict[str, Any]]:
        """Every combination of the values, or what is drawn."""
        lists = [values for values in self.space.values() if not isinstance(values, Range)]
        count = math.prod(map(len, lists)) if len(lists) == len(self.space) else math.inf
        if self.budget is None or count <= self.budget:
            return [dict(zip(self.space, each, strict=True)) for each in itertools.product(*lists)]
        drawn = {name: self._draw(name, values) for name, values in self.space.items()}
        return [{name: drawn[name][k] for name in drawn} for k in range(self.budget)]

    def _draw(self, name: str, values: tuple[Any, ...] | Range) -> list[Any]:
        """One value from each of ``budget`` equal parts, in random order."""
        assert self.budget is not None
        rng = np.random.default_rng([self.seed, *name.encode()])
        shares = (rng.permutation(self.budget) + rng.random(self.budget)) / self.budget
        if isinstance(values, Range):
            return [values.at(share) for share in shares.tolist()]
        return [values[int(share * len(values))] for share in shares.tolist()]

    def __str__(self) -> str:
        spans = [
            f"{name} {values if isinstance(values, Range) else ', '.join(map(str, values))}"
            for name, values in self.space.items()
        ]
        drawn = "" if self.budget is None else f"; drawn with seed {self.seed}"
        given = (", ".join(f"{name} {value}" for name, value in each.items()) for each in self.also)
        return "; ".join(spans) + drawn + "".join(f"; and {each}" for each in given)


def flattened(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of groups by dotted names: ``{"weights.weight_decay": 0}``; ranges stay."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and not {"low", "high"} & value.keys():
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            flat[name] = value
    return flat


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with those of a group in a mapping, as a task takes them."""
    found: dict[str, Any] = {}
    for name, value in flattened(options).items():
        outer, dot, inner = name.partition(".")
        found[outer] = {**found.get(outer, {}), inner: value} if dot else value
    return found
