"""What a sweep is to try: data × methods × budgets × seeds × learning rates, from a TOML file.

task = "ranking"
profile = "full"
data = ["movielens"]                      # or [[data]] tables with name, user_col, item_col
methods = ["hash", "qr", "memcom"]        # or ["every"]; the controls come by themselves
ratios = [4, 8, 16]                       # and, or instead: nbytes = ["256 KiB"]
seeds = 3
learning_rates = [3e-3, 1e-2, 3e-2]       # left out: those of the profile

[rates_of]                                # a grid of its own for a method
memcom = [1e-2, 3e-2, 1e-1]
[options]                                 # changes to the options of the task's profile
epochs = 100
[vary]                                    # options that are tried in all combinations
embedding_dim = [64, 128]
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from memcom.budget import parse_nbytes
from memcom.embeddings import available, parse_spec
from memcom.tasks.protocol import Setting, Task, get_task

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

# At equal bytes beside every method, whether they were asked for or not.
BASELINES = ("small-dim", "low-rank", "truncate")
EVERY = "every"  # stands for all methods of the registry and these besides
VARIANTS = ("qr(operation=concat)",)


@dataclass(frozen=True)
class Source:
    """Where data comes from: what `memcom.data.load` is called with, and ``ids``.

    With ``ids = "shuffled"`` item ids are not in the order of popularity.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """A short name: the data set's, or the file's without its folder."""
        name = Path(self.name).name
        return f"{name} {self.options['ids']}" if "ids" in self.options else name

    @classmethod
    def of(cls, value: Any) -> Source:
        """A source from a name, or a table with ``name`` and columns."""
        if isinstance(value, Source):
            return value
        if isinstance(value, str | Path):
            return cls(str(value))
        if not isinstance(value, Mapping) or "name" not in value:
            raise ValueError(f"data must be names, or tables with a name, got {value!r}")
        return cls(str(value["name"]), {k: v for k, v in value.items() if k != "name"})


@dataclass(frozen=True)
class Spec:
    """A sweep, as written down. Everything is checked when it is made.

    Attributes:
        data: Data sets, one after another.
        task: Name of the task; see `memcom.tasks.task_names`.
        methods: Compressors, options allowed as in ``"qr(operation=concat)"``; ``"every"`` stands
            for all of the registry.
        ratios: Compression ratios of the input embedding, each >= 1; may be empty where no method
            is compared, for the full table and the controls without one.
        nbytes: Byte budgets of the input embedding, besides the ratios or instead.
        seeds: Number of seeds, 0, 1, ...
        profile: ``"fast"`` or ``"full"``: options and learning rates to begin with.
        learning_rates: Grid that replaces the profile's.
        rates_of: Grids for single methods.
        options: Changes to the options of the profile.
        vary: Options with several values each, tried in all combinations.
    """

    data: tuple[Source, ...] = (Source("movielens"),)
    task: str = "ranking"
    methods: tuple[str, ...] = ("hash", "qr", "memcom")
    ratios: tuple[float, ...] = (4.0, 8.0, 16.0)
    nbytes: tuple[int, ...] = ()
    seeds: int = 3
    profile: str = "full"
    learning_rates: tuple[float, ...] = ()
    rates_of: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        task = get_task(self.task)
        set_ = object.__setattr__  # the dataclass is frozen, this brings values into one form
        data = self.data if isinstance(self.data, Sequence) else (self.data,)
        set_(self, "data", tuple(map(Source.of, (data,) if isinstance(data, str) else data)))
        plain = (*task.controls, "full")  # always there
        every = (*available(), *VARIANTS)
        given = [m for name in self.methods for m in (every if name == EVERY else (name,))]
        methods = [canonical(m) for m in given if m not in plain]
        set_(self, "methods", tuple(dict.fromkeys(methods)))
        set_(self, "ratios", tuple(map(float, self.ratios)))
        set_(self, "nbytes", tuple(map(parse_nbytes, self.nbytes)))
        set_(self, "learning_rates", tuple(map(float, self.learning_rates)))
        rates_of = {
            m if m in plain else canonical(m): tuple(map(float, rates))
            for m, rates in self.rates_of.items()
        }
        set_(self, "rates_of", rates_of)
        if not self.data:
            raise ValueError("data must name at least one data set")
        if self.methods and not self.ratios and not self.nbytes:
            raise ValueError("give ratios or nbytes: there is no budget to compress to")
        if self.ratios and min(self.ratios) < 1:
            raise ValueError(f"ratios must be >= 1, got {min(self.ratios):g}")
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        if self.profile not in task.profiles:
            raise ValueError(
                f"profile must be one of {', '.join(task.profiles)}, got {self.profile!r}"
            )
        rates = [*self.learning_rates, *itertools.chain(*self.rates_of.values())]
        if rates and not min(rates) > 0:
            raise ValueError(f"learning rates must be > 0, got {min(rates)}")
        known = set(task.profiles[self.profile]) - {"learning_rates"}
        for name in (*self.options, *self.vary):
            if name not in known:
                raise ValueError(
                    f"{self.task} has no option {name!r}; it has {', '.join(sorted(known))}"
                )

    @classmethod
    def read(cls, path: Path | str, **changes: Any) -> Spec:
        """A spec from a TOML file; see the head of this module.

        Args:
            path: The file.
            **changes: Fields that replace those of the file, where they are not None.

        Returns:
            The spec.

        Raises:
            ValueError: The file is no TOML, or a field or a value of it makes no sense.
            OSError: The file cannot be read.
        """
        try:
            content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: {error}") from error
        unknown = set(content) - {each.name for each in fields(cls)}
        if unknown:
            raise ValueError(f"{path}: there is no field {', '.join(sorted(unknown))}")
        return cls(**content | {name: v for name, v in changes.items() if v is not None})

    def variants(self) -> list[dict[str, Any]]:
        """The options of every combination of `vary`, complete."""
        defaults = dict(get_task(self.task).profiles[self.profile])
        del defaults["learning_rates"]
        combinations = itertools.product(*self.vary.values())
        changes = [dict(zip(self.vary, values, strict=True)) for values in combinations]
        return [
            {name: _like(defaults[name], value) for name, value in (defaults | both).items()}
            for both in ({**self.options, **change} for change in changes)
        ]

    def cells(self, options: Mapping[str, Any]) -> list[Cell]:
        """The rows of one table: controls and the full table once, the rest per budget."""
        task = get_task(self.task)
        budgets: list[dict[str, Any]] = [{"ratio": ratio} for ratio in dict.fromkeys(self.ratios)]
        budgets += [{"nbytes": nbytes} for nbytes in dict.fromkeys(self.nbytes)]
        once = [Setting(self.task, method, options=options) for method in (*task.controls, "full")]
        rest = [
            Setting(self.task, method, options=options, **budget)
            for budget in budgets
            for method in dict.fromkeys((*BASELINES, *self.methods))
        ]
        return [Cell(self._grid(task, setting), self.seeds) for setting in once + rest]

    def _grid(self, task: Task, setting: Setting) -> tuple[Setting, ...]:
        if setting.method in task.untrained:
            return (setting,)
        rates = self.rates_of.get(setting.method) or self.learning_rates
        rates = rates or tuple(map(float, task.profiles[self.profile]["learning_rates"]))
        return tuple(replace(setting, learning_rate=rate) for rate in dict.fromkeys(rates))


@dataclass(frozen=True)
class Cell:
    """One row of a report: a method at a budget.

    Attributes:
        grid: The method with the first seed and each learning rate.
        seeds: Number of seeds of the learning rate that validation chooses.
    """

    grid: tuple[Setting, ...]
    seeds: int

    @property
    def setting(self) -> Setting:
        """The first of the grid, for method and budget."""
        return self.grid[0]

    @property
    def trained(self) -> bool:
        """Whether there is anything to learn, and so a grid and seeds."""
        return self.setting.learning_rate is not None

    @property
    def num_trials(self) -> int:
        """Trials of the whole row: the grid, and the other seeds of the choice."""
        return len(self.grid) + (self.seeds - 1) * self.trained

    def more_seeds(self, chosen: Setting) -> list[Setting]:
        """The chosen setting with all other seeds."""
        return [replace(chosen, seed=seed) for seed in range(1, self.seeds)] if self.trained else []


def canonical(method: str) -> str:
    """One spelling of a method with options: ``qr(operation='concat')`` whatever the quotes."""
    name, options = parse_spec(method)
    inside = ", ".join(f"{key}={value!r}" for key, value in sorted(options.items()))
    return f"{name}({inside})" if inside else name


def _like(default: Any, value: Any) -> Any:
    """A whole number as float where the default is one, so that 0 and 0.0 are one setting."""
    if isinstance(default, float) and type(value) is int:
        return float(value)
    return list(value) if isinstance(value, tuple) else value
