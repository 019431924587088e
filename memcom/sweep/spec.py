"""A sweep as written down: data x methods x budgets x seeds, each tuned alike.

task = "ranking"
profile = "full"
data = ["movielens"]                      # or [[data]] tables with name, user_col, item_col
methods = ["hash", "qr", "memcom"]        # or ["every"]; controls and baselines are added
ratios = [4, 8, 16]                       # and, or instead: nbytes = ["256 KiB"]
seeds = 3
references = ["ease", "itemknn"]          # default: all in the full profile, none in the fast
learning_rates = [3e-3, 1e-2, 3e-2]       # default: those of the profile
baselines = ["truncate"]                  # default: small-dim, low-rank and truncate
controls = ["popular"]                    # default: all of the task's

[options]                                 # changes to the options of the task's profile
epochs = 100
weights.weight_decay = 0.0                # of one group of parameters: rows, weights or dense
[vary]                                    # options tried in all combinations, a table for each
embedding_dim = [64, 128]

[tune]                                    # chosen on validation for each row, besides the rate
budget = 16                               # trials of each row, the full table's too
also = [{ learning_rate = 0.01, weight_decay = 0.3, std = 1.0 }]  # and these besides
epochs = 50                               # default: those of the options
finalists = 3                             # the best so many are trained for all epochs to choose
[tune.space]                              # lists of values, or ranges (log = false: linear)
learning_rate = { low = 1e-3, high = 1e-1 }
weight_decay = { low = 1e-3, high = 1.0 }
std = [0.05, 0.3, 1.0]
"""

from __future__ import annotations

import ast
import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from memcom._annotations import checked
from memcom._check import did_you_mean
from memcom._text import parse_nbytes
from memcom.budget import BudgetError, plan
from memcom.embeddings import available, parse_spec
from memcom.sweep import _values
from memcom.sweep.source import Source
from memcom.sweep.trial import Trial
from memcom.sweep.tune import Range, Tune, flattened, nested
from memcom.tasks.protocol import Task, get_task

# Compared at the same budgets in every sweep that compares methods.
BASELINES = ("small-dim", "low-rank", "truncate")
EVERY = "every"  # stands for all methods of the registry, and these besides
VARIANTS = ("qr(operation=concat)",)
MAX_SEEDS = 10_000


@dataclass(frozen=True)
class Spec:
    """A sweep. Every field is checked on construction.

    Attributes:
        data: Data sets, one after another.
        task: Name of the task; see `memcom.tasks.task_names`.
        methods: Compressors, options allowed as in ``"qr(operation=concat)"``; ``"every"`` stands
            for all of the registry.
        ratios: Compression ratios of the input embedding, each >= 1. May be empty where no method
            is compared: then only the full table and the controls are trained.
        nbytes: Byte budgets of the input embedding, besides the ratios or instead.
        seeds: Number of seeds: 0, 1, ...; at most 10,000.
        profile: ``"fast"`` or ``"full"``: default options and learning rates.
        references: Models of another kind to stand beside the full table, of those that the task
            has, or ``"every"``; None for all of them in the full profile and none in the fast.
        learning_rates: Learning rates to choose from, in place of the profile's.
        options: Changes to the options of the profile; those of a group of parameters in a mapping,
            or by a name with a dot.
        vary: Options with several values each, tried in all combinations.
        tune: What validation chooses for each row. The learning rate is always among it.
        controls: Controls of the task that are trained; ``"every"`` stands for all of them.
        baselines: Methods that are compared at every budget besides those of ``methods``.

    Raises:
        ValueError: A field makes no sense; the message names the value and what is allowed.
    """

    data: tuple[Source, ...] = (Source("movielens"),)
    task: str = "ranking"
    methods: tuple[str, ...] = ("hash", "qr", "memcom")
    ratios: tuple[float, ...] = (4.0, 8.0, 16.0)
    nbytes: tuple[int, ...] = ()
    seeds: int = 3
    profile: str = "full"
    references: tuple[str, ...] | None = None
    learning_rates: tuple[float, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    tune: Tune = field(default_factory=Tune)
    controls: tuple[str, ...] = (EVERY,)
    baselines: tuple[str, ...] = BASELINES

    def __post_init__(self) -> None:
        task = _task(self.task)
        given = self.data if isinstance(self.data, Sequence) else (self.data,)
        given = (given,) if isinstance(given, str) else given
        plain = (*task.controls, "full", *task.references)  # no methods at a budget
        every = (*available(), *VARIANTS)
        named = _values.listed("controls", self.controls, "names")
        controls = [c for name in named for c in (task.controls if name == EVERY else (name,))]
        normal = {
            "data": tuple(map(Source.of, given)),
            "methods": _methods("methods", self.methods, every, plain),
            "ratios": _values.each("ratios", self.ratios, "numbers >= 1", _ratio),
            "nbytes": _values.each("nbytes", self.nbytes, "sizes such as '64 KiB'", _nbytes),
            "learning_rates": _values.each(
                "learning_rates", self.learning_rates, "numbers > 0", _rate
            ),
            "seeds": _values.whole("seeds", self.seeds, 1, MAX_SEEDS),
            "profile": _values.one_of("profile", self.profile, list(task.profiles)),
            "references": self._references(task),
            "options": nested(_values.table("options", self.options)),
            "vary": {
                name: _values.listed(f"vary {name}", values, "values to try")
                for name, values in flattened(_values.table("vary", self.vary)).items()
            },
            "tune": Tune.of(self.tune),
            "controls": tuple(
                _values.one_of("each of controls", name, task.controls)
                for name in dict.fromkeys(controls)
            ),
            "baselines": _methods("baselines", self.baselines, every, plain),
        }
        for name, value in normal.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen
        if not self.data:
            raise ValueError("data must name at least one data set")
        if self.methods and not self.ratios and not self.nbytes:
            raise ValueError("give ratios or nbytes: there is no budget to compress to")
        if self.learning_rates and "learning_rate" in self.tune.space:
            raise ValueError("give learning_rates or a tune space for learning_rate, not both")
        self._check_names()
        for options in self.variants():
            if task.check is not None:
                task.check(options)
                for _, candidate in self.candidates(options):
                    task.check(candidate)
        widths = {options.get("embedding_dim", 64) for options in self.variants()}
        with_options = [m for m in (*self.methods, *self.baselines) if "(" in m]
        for method, width in itertools.product(with_options, widths):
            _check_options(method, width)

    @property
    def stage(self) -> Tune:
        """The tuning stage with the learning rate in its space."""
        rates = self.learning_rates or get_task(self.task).profiles[self.profile]["learning_rates"]
        return replace(self.tune, space={"learning_rate": tuple(rates), **self.tune.space})

    def _check_names(self) -> None:
        """Refuse options that the task does not have, and those with two rules for their value."""
        defaults = get_task(self.task).profiles[self.profile]
        known = set(defaults) - {"learning_rates"}
        tuned = {*self.tune.space} - {"learning_rate"}
        if self.tune.epochs is not None:
            tuned.add("epochs")
        for name in (*flattened(self.options), *self.vary, *tuned):
            outer, dot, _ = name.partition(".")
            if outer not in known or isinstance(defaults[outer], Mapping) != bool(dot):
                raise ValueError(
                    f"{self.task} has no option {name!r}; it has {', '.join(sorted(known))}"
                )
        for name in flattened(self.options):
            if name in self.tune.space:
                raise ValueError(f"{name} is tuned, so it cannot be in options")
        for name, values in self.vary.items():
            if not values:
                raise ValueError(f"vary {name} must have at least one value to try")
            if name in tuned:
                raise ValueError(f"{name} is tuned, so it cannot be in vary")

    @classmethod
    def read(cls, path: Path | str, **changes: Any) -> Spec:
        """Read a spec from a TOML file; see the head of this module.

        Args:
            path: The file.
            **changes: Fields that replace those of the file, where they are not None.

        Returns:
            The spec.

        Raises:
            ValueError: The file is not TOML, or a field or a value makes no sense.
            OSError: The file cannot be read.
        """
        return cls(**_fields(path) | {name: v for name, v in changes.items() if v is not None})

    def variants(self) -> list[dict[str, Any]]:
        """Return the complete options of every combination of `vary`."""
        combinations = itertools.product(*self.vary.values())
        changes = [dict(zip(self.vary, values, strict=True)) for values in combinations]
        return [self._complete(change) for change in changes]

    def grids(
        self, options: Mapping[str, Any], source: Source | None = None
    ) -> list[tuple[Trial, ...]]:
        """Return the rows of one table: for each the trials that validation chooses from.

        Args:
            options: One of `variants`.
            source: The data; the first of the spec's if left out.

        Returns:
            A tuple per row with a trial for each candidate, all with the first seed. Controls,
            full table and references come first and once, the other methods once per budget.
        """
        task, source = get_task(self.task), source or self.data[0]
        budgets: list[dict[str, Any]] = [{"ratio": ratio} for ratio in dict.fromkeys(self.ratios)]
        budgets += [{"nbytes": nbytes} for nbytes in dict.fromkeys(self.nbytes)]
        plain = (*self.controls, "full", *(self.references or ()))
        rows: list[tuple[str, dict[str, Any]]] = [(method, {}) for method in plain]
        compared = dict.fromkeys((*self.baselines, *self.methods))
        rows += [(method, budget) for budget in budgets for method in compared]
        candidates = self.candidates(options)
        grids = []
        for method, budget in rows:
            alone = method in (*task.untrained, *task.references)
            tried = [(None, options)] if alone else candidates
            same = {"source": source, **budget}
            grids.append(
                tuple(
                    Trial(self.task, method, learning_rate=rate, options=chosen, **same)
                    for rate, chosen in tried
                )
            )
        return grids

    def candidates(self, options: Mapping[str, Any]) -> list[tuple[float, dict[str, Any]]]:
        """Return learning rate and complete options of every candidate of the tuning stage.

        Args:
            options: One of `variants`.

        Returns:
            Pairs, none of them twice.
        """
        found: list[tuple[float, dict[str, Any]]] = []
        stage, defaults = self.stage, get_task(self.task).profiles[self.profile]
        whole = {
            name
            for name, values in stage.space.items()
            if isinstance(values, Range) and type(defaults.get(name)) is int
        }
        varied = {name: value_of(options, name) for name in self.vary}
        for candidate in stage.candidates():
            candidate |= {name: round(candidate[name]) for name in whole}
            rate = _rate("learning_rate", candidate.pop("learning_rate"))
            if self.tune.epochs is not None:
                candidate["epochs"] = self.tune.epochs
            each = rate, self._complete(varied | candidate)
            found += [each] if each not in found else []
        return found

    def _complete(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the profile with those of the spec and these changes by dotted name.

        Those that the task got later are left out at their default, but where they are tried.
        """
        task = get_task(self.task)
        defaults = dict(task.profiles[self.profile])
        del defaults["learning_rates"]
        given = nested({**flattened(self.options), **changes})
        every = {
            name: _values.like(name, defaults[name], value)
            for name, value in (defaults | given).items()
        }
        of_interest = {name.partition(".")[0] for name in (*self.tune.space, *self.vary)}
        left_out = {name for name in {*task.later} - of_interest if every[name] == defaults[name]}
        return {name: value for name, value in every.items() if name not in left_out}

    def _references(self, task: Task) -> tuple[str, ...]:
        """The references of the sweep; a control may be named, it is in every sweep."""
        if self.references is None:
            return task.references if self.profile == "full" else ()
        known = (*task.references, *task.controls)
        listed = _values.listed("references", self.references, "names")
        named = [r for name in listed for r in (task.references if name == EVERY else (name,))]
        if named and not known:
            raise ValueError(f"task {task.name} has no references, got {named!r:.80}")
        given = dict.fromkeys(_values.one_of("each of references", name, known) for name in named)
        return tuple(name for name in given if name in task.references)


_UNSET: tuple[Any, ...] = (None, "", [])


@checked
def spec_of(
    path: Path | str | None,
    *,
    data: str | None = None,
    columns: Mapping[str, Any] | None = None,
    set_options: Iterable[str] = (),
    **changes: Any,
) -> Spec:
    """Return a spec from a TOML file, from a command line, or from both.

    Args:
        path: The file, or None.
        data: A data set's name, or a file of pairs.
        columns: ``user_col`` and other options of `memcom.data.load`, for a file, and ``split``.
        set_options: Options of the task as ``"epochs=20"``; of several values in brackets, as in
            ``"embedding_dim=[64,128]"``, all are tried. One that the file tunes is not tuned then.
        **changes: Fields of `Spec`; None leaves the value of the file, or the default.

    Returns:
        The spec.

    Raises:
        ValueError: A value makes no sense, or columns are given without data.
    """
    given = {name: column for name, column in (columns or {}).items() if column not in _UNSET}
    if given and data is None:
        raise ValueError(f"{', '.join(given)} needs data: the file with these columns")
    if data is not None:
        changes["data"] = (Source(data, given),)
    if changes.get("nbytes") and changes.get("ratios") is None:
        changes["ratios"] = ()
    content = {} if path is None else _fields(path)
    content |= {name: value for name, value in changes.items() if value is not None}
    options, vary = (
        flattened(_values.table(name, content.get(name, {}))) for name in ("options", "vary")
    )
    tune = Tune.of(content.get("tune", {}))
    space = dict(tune.space)
    if changes.get("learning_rates") is not None:
        space.pop("learning_rate", None)
    for text in set_options:
        name, equals, value = map(str.strip, text.partition("="))
        if not equals:
            raise ValueError(f"an option is written name=value, got {text!r}")
        for rules in (options, vary, space):
            rules.pop(name, None)
        literal = _literal(value)
        (vary if isinstance(literal, list) else options)[name] = literal
    tune = replace(tune, space=space)
    return Spec(**content | {"options": options, "vary": vary, "tune": tune})


def canonical(method: str) -> str:
    """Return one spelling of a method with options: ``qr(operation='concat')``."""
    if not isinstance(method, str):
        raise ValueError(f"a method is a name, got {method!r:.80}")
    try:
        name, options = parse_spec(method)
    except (TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"a method is written name(option=value), got {method!r:.80}") from error
    inside = ", ".join(f"{key}={value!r}" for key, value in sorted(options.items()))
    return f"{name}({inside})" if inside else name


def _check_options(method: str, embedding_dim: int) -> None:
    """Refuse options that no number of ids makes right; whether the budget does, the data says."""
    name, options = parse_spec(method)
    for given in {"num_embeddings", "embedding_dim", "ratio", "nbytes"} & options.keys():
        raise ValueError(f"{method}: {given} is no option of a method in a sweep")
    for num_embeddings in (10**3, 10**6, 10**9):
        refused = _refusal(name, num_embeddings, embedding_dim, options)
        if refused is None:
            return
    raise ValueError(f"{method}: {refused}") from refused


def _refusal(
    name: str, num_embeddings: int, embedding_dim: int, options: Mapping[str, Any]
) -> Exception | None:
    """Return why a method's options are refused for so many ids, at whatever budget."""
    try:
        plan(name, num_embeddings, embedding_dim, ratio=2, **options)
    except BudgetError:
        return None
    except (TypeError, ValueError) as error:
        return error
    return None


def _fields(path: Path | str) -> dict[str, Any]:
    """The fields of a spec file."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no TOML, or not in UTF-8
        raise ValueError(f"{path} is no TOML file in UTF-8: {error}") from error
    unknown = set(content) - {each.name for each in fields(Spec)}
    if unknown:
        raise ValueError(f"{path}: there is no field {', '.join(sorted(unknown))}")
    return content


def _literal(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return list(value) if isinstance(value, tuple) else value


def _task(name: Any) -> Task:
    """The task of a name; ValueError names one that cannot be imported."""
    if not isinstance(name, str):
        raise ValueError(f"task must be a name, got {name!r:.80}")
    module = name.partition(":")[0]
    try:
        return get_task(name)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # a package that the task needs
            raise
        raise ValueError(f"task {name!r}: there is no module {error.name}") from error
    except TypeError as error:  # a relative name
        raise ValueError(f"task {name!r} is no module:attribute: {error}") from error


def value_of(options: Mapping[str, Any], name: str) -> Any:
    """Return an option by its name, which has a dot for one of a group; None if it is not there."""
    outer, dot, inner = name.partition(".")
    found = options.get(outer)
    return found.get(inner) if dot and found is not None else found


def _methods(name: str, value: Any, every: Sequence[str], plain: Sequence[str]) -> tuple[str, ...]:
    """Methods in one spelling each, without those that are trained anyway."""
    named = _values.listed(name, value, "names")
    methods = [m for each in named for m in (every if each == EVERY else (each,))]
    words = [method.partition("(")[0].strip() for method in methods if isinstance(method, str)]
    for word in words:
        if word not in (known := (*available(), *plain)) and (hint := did_you_mean(word, known)):
            raise ValueError(f"no method is called {word!r}{hint}")
    return tuple(dict.fromkeys(canonical(m) for m in methods if m not in plain))


def _ratio(name: str, value: Any) -> float:
    return _values.number(name, value, 1)


def _rate(name: str, value: Any) -> float:
    return _values.number(name, value, 0, above=True)


def _nbytes(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(
            f"{name} must be whole bytes or a text such as '64 KiB', got {value!r:.80}"
        )
    if (nbytes := parse_nbytes(value)) < 1:
        raise ValueError(f"{name} must be at least 1 byte, got {value!r}")
    return nbytes
