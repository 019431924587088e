"""The best method on the user's own data, within a budget of bytes and of minutes.

    print(memcom.advise("pairs.csv", user_col="user", item_col="item", nbytes="2 MB", minutes=10))

Successive halving (Jamieson and Talwalkar, AISTATS 2016): the methods that other data recommends
are all trained for a quarter of the epochs, the better half of them for a half, and the best two
to the end, with three seeds. Every method tries the same learning rates each time, and validation
alone decides. The full table runs along, as what the methods are measured against; and those that
can be fitted to it, once it is trained, are measured with it.

Each stage is a sweep in the same folder, so that an interrupted run resumes where it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from memcom import _text
from memcom._annotations import checked
from memcom._check import real, shown
from memcom._files import write_json
from memcom.advice.recommend import build_line, recommend
from memcom.data import Interactions, load
from memcom.sweep import Row, Source, Spec, run, summarise, tables, write_report
from memcom.sweep.estimate import probe_seconds
from memcom.sweep.provenance import parallel_trials
from memcom.sweep.store import Store
from memcom.tasks.protocol import FITTED

RATES = (3e-3, 1e-2)
"""Learning rates that every method tries."""
ROUNDED = ("int8", "int4")
"""Methods that round a trained full table."""
METHODS, SEEDS = 6, 3
"""Methods that are trained in the first stage, as many forms of the full table, and seeds of the
last."""
MOST_METHODS = 1000
FEWEST_EPOCHS, MOST_EPOCHS = 8, 100


class Stage(NamedTuple):
    """A round of the halving.

    Attributes:
        methods: How many are trained, besides the full table.
        epochs: For how many epochs.
        seeds: With how many seeds.
    """

    methods: int
    epochs: int
    seeds: int

    @property
    def trials(self) -> int:
        """Trainings, the full table's included."""
        return (self.methods + 1) * (len(RATES) + self.seeds - 1)


class Tried(NamedTuple):
    """A method in the last stage that it reached.

    Attributes:
        row: What was measured.
        epochs: Epochs it was trained for, at most.
    """

    row: Row
    epochs: int


@dataclass(frozen=True)
class Advice:
    """The method to use, and the others it was compared with.

    Attributes:
        tried: The full table, the controls, and every method.
        budget: Bytes that were allowed.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        metric: Name of the metric for people, such as ``nDCG@10``.
        files: What was written, by kind, as in `memcom.sweep.Report`.
    """

    tried: tuple[Tried, ...]
    budget: float
    num_embeddings: int
    embedding_dim: int
    metric: str
    files: dict[str, Path]

    @property
    def best(self) -> Row:
        """The row within the budget that is best on validation, of those trained to the end."""
        last = max(each.epochs for each in self.tried)
        trained = [each.row for each in self.tried if each.epochs == last]
        fitting = [row for row in trained if 0 < row.nbytes <= self.budget]
        return max(fitting, key=_by_validation)

    @property
    def line(self) -> str:
        """The line of Python that builds it."""
        method, full = self.best.method, self.best.ratio is None and self.best.budget is None
        asked = {} if full else {"nbytes": int(self.budget)}
        return build_line(method, self.num_embeddings, self.embedding_dim, asked)

    def __str__(self) -> str:
        best = self.best
        kept, most, least = (100 * (1 - each) for each in best.loss)
        sentence = (
            f"Take {best.method}: in {_text.in_bytes(best.nbytes)}, {best.compression_ratio:.1f} "
            f"times less than the full table, it keeps {kept:.1f} % of its {self.metric} "
            f"(95 % interval {least:.1f} to {most:.1f} %)."
        )
        rows = [
            {
                "method": row.method,
                "bytes": f"{row.nbytes:,}",
                self.metric: f"{row.value.value:.4f}",
                "loss": "" if row.method == "full" else f"{100 * row.loss.value:.1f} %",
                "epochs": str(epochs),
                "seeds": str(row.seeds),
            }
            for row, epochs in self.tried
            if row.seeds
        ]
        numbers = ("bytes", self.metric, "loss", "epochs", "seeds")
        table = _text.table(rows, style="plain", right=numbers)
        return "\n\n".join([sentence, table, self.line])


@checked
def advise(
    data: Any,
    *,
    nbytes: int | str | None = None,
    ratio: float | None = None,
    minutes: float = 10.0,
    embedding_dim: int = 64,
    out: Path | str = "results/advise",
    jobs: int | None = None,
    engine: str = "processes",
    progress: bool = True,
    draw: Callable[..., Any] | None = None,
    **columns: Any,
) -> Advice:
    """Find the best method for a ranking model on one's own data.

    Args:
        data: A data set's name, a CSV, TSV or Parquet file, a table in memory (all that
            `memcom.data.load` takes), or loaded interactions.
        nbytes: Budget of the item embedding in bytes, or as text such as ``"2 MB"``.
        ratio: Budget as a compression ratio, instead.
        minutes: Time for all trainings together. Half an hour finds finer differences than ten
            minutes; a run that was stopped goes on where it was.
        embedding_dim: Width of the vectors.
        out: Folder of the trials and the report.
        jobs: Trials at a time; by default as many as the engine has room for.
        engine: As in `memcom.sweep.run`.
        progress: Show progress bars.
        draw: Draws the last stage, such as `memcom.plots.quality_against_bytes`.
        **columns: For a file or table, ``user_col="..."``, ``item_col="..."`` and other options of
            `memcom.data.load`.

    Returns:
        The advice; ``print`` shows it.

    Raises:
        BudgetError: No method can be that small.
        ValueError: Neither budget is given or both, or the minutes do not suffice for the shortest
            training; the message says how many would.
    """
    if (ratio is None) == (nbytes is None):
        raise ValueError(f"give ratio or nbytes: got {shown(ratio)} and {shown(nbytes)}")
    seconds = 60 * real("minutes", minutes, 1e-3, 1e6)
    if not isinstance(data, str | Path | Interactions):
        data, columns = load(data, **columns), {}
    given = isinstance(data, Interactions)
    source = Source(data.name) if isinstance(data, Interactions) else Source(str(data), columns)
    loaded = data if given else source.load()
    if not isinstance(loaded, Interactions):
        raise ValueError(f"{source.label} is {type(loaded).__name__}, and a ranker needs users")
    budget: dict[str, Any] = {"ratio": ratio, "nbytes": nbytes}
    first = recommend(
        loaded.num_items, embedding_dim, counts=loaded.item_counts, top=MOST_METHODS, **budget
    )
    names = [each.method for each in first.suggestions]
    # What is fitted to the full table comes with it, at no further training.
    fitted = [each.removeprefix(FITTED) for each in names if each.startswith(FITTED)]
    full_nbytes = 4 * loaded.num_items * embedding_dim
    at_ratio = math.ceil(1e4 * full_nbytes / first.best.plan.budget) / 1e4
    forms = [*ROUNDED, *(f"{each}@{at_ratio}" for each in fitted[:METHODS])]
    trained = [each for each in names if each not in ROUNDED and not each.startswith(FITTED)]
    methods = trained[:METHODS]
    race = _Race(source, loaded, embedding_dim, budget, forms, Path(out))
    jobs = jobs or (1 if engine == "local" else parallel_trials())
    epochs = race.epochs(methods, seconds * jobs, {"minutes": minutes, "methods": methods})
    tried: dict[str, Tried] = {}
    for stage in stages(len(methods), epochs):
        spec = race.spec(methods[: stage.methods], stage)
        (table,) = run(spec, out, data=loaded, engine=engine, jobs=jobs, progress=progress)
        rows = summarise(table, Store(out))
        tried = {row.method: Tried(row, stage.epochs) for row in rows} | {
            name: each for name, each in tried.items() if name in methods[stage.methods :]
        }
        ranked = sorted((r for r in rows if r.method in methods), key=_by_validation, reverse=True)
        methods = [row.method for row in ranked] + methods[stage.methods :]
    report = write_report([table], out, draw=draw)
    return Advice(
        tuple(tried.values()),
        first.best.plan.budget,
        loaded.num_items,
        embedding_dim,
        table.metric_label,
        report.files,
    )


@dataclass(frozen=True)
class _Race:
    """Data and budget, which all stages share."""

    source: Source
    data: Interactions
    embedding_dim: int
    budget: dict[str, Any]
    forms: list[str]
    out: Path

    def spec(self, methods: list[str], stage: Stage) -> Spec:
        """The sweep of a stage."""
        ratio, nbytes = self.budget["ratio"], self.budget["nbytes"]
        return Spec(
            data=(self.source,),
            methods=tuple(methods),
            ratios=() if ratio is None else (ratio,),
            nbytes=() if nbytes is None else (nbytes,),
            seeds=stage.seeds,
            learning_rates=RATES,
            references=(),
            baselines=(),
            options={
                "epochs": stage.epochs,
                "embedding_dim": self.embedding_dim,
                "forms": self.forms,
            },
        )

    def epochs(self, methods: list[str], seconds: float, asked: dict[str, Any]) -> int:
        """The epochs of the last stage: those of an earlier run for the same, else what fits.

        Raises ValueError if not even `FEWEST_EPOCHS` fit into so many seconds of one job.
        """
        file = self.out / "advise.json"
        asked = {"data": self.source.label, "width": self.embedding_dim, **self.budget, **asked}
        if file.exists():
            begun = json.loads(file.read_text(encoding="utf-8"))
            if begun["asked"] == asked:
                return int(begun["epochs"])
        probe = self.spec(methods, Stage(len(methods), MOST_EPOCHS, 1))
        time = probe_seconds(next(iter(tables(probe, self.data))))
        if time is None:
            raise ValueError(f"{self.source.label}: the full table cannot be trained")

        def total(epochs: int) -> float:
            return sum(each.trials * time(each.epochs) for each in stages(len(methods), epochs))

        fitting = [n for n in range(FEWEST_EPOCHS, MOST_EPOCHS + 1) if total(n) <= seconds]
        if not fitting:
            needed = _text.duration(total(FEWEST_EPOCHS) / seconds * 60 * asked["minutes"])
            raise ValueError(
                f"{asked['minutes']:g} minutes do not suffice: {FEWEST_EPOCHS} epochs of "
                f"{len(methods)} methods take about {needed}"
            )
        write_json(file, {"asked": asked, "epochs": fitting[-1]})
        return fitting[-1]


def stages(methods: int, epochs: int) -> list[Stage]:
    """Return the rounds: all methods for a quarter of the epochs, half of them for a half, ...

    Args:
        methods: Methods of the first round.
        epochs: Epochs of the last.

    Returns:
        Three rounds, the last with `SEEDS` seeds.
    """
    kept = [methods, max(1, -(-methods // 2)), max(1, -(-methods // 3))]
    share = [-(-epochs // 4), -(-epochs // 2), epochs]
    seeds = [1, 1, SEEDS]
    return [Stage(*each) for each in zip(kept, share, seeds, strict=True)]


def _by_validation(row: Row) -> float:
    return row.valid if row.seeds else -math.inf
