"""Compressors against the full table at equal bytes: one table, with controls and intervals.

Every method gets the same effort: each learning rate of the profile is tried with the first seed,
validation chooses, and the remaining seeds use the choice. The full table and the controls go
through the same. The test part is looked at once per trial and decides nothing.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from tqdm.auto import tqdm

from memcom.data import Interactions
from memcom.embeddings import available, parse_spec
from memcom.experiments.costs import measure
from memcom.experiments.rows import Comparison, Row, make_row, per_user, with_loss
from memcom.experiments.running import available_cores, best_of, run_trials
from memcom.experiments.statistics import relative_change
from memcom.experiments.trials import CONTROLS, ModelOptions, Trial
from memcom.training import TrainingOptions

# Besides every method of the registry. Multiplication is the default operation.
VARIANTS = ("qr(operation=concat)",)


@dataclass(frozen=True)
class Profile:
    """How much effort every method gets.

    Attributes:
        learning_rates: Tried with the first seed, chosen on validation.
        training: Everything else about training.
        timing: Whether lookup and step times are measured.
    """

    learning_rates: tuple[float, ...]
    training: TrainingOptions
    timing: bool = True


PROFILES = {
    # Seconds per method on MovieLens: orderings of notebooks and tests, not results.
    "fast": Profile((1e-2,), TrainingOptions(epochs=25)),
    "full": Profile((3e-3, 1e-2, 3e-2), TrainingOptions(epochs=100)),
}


def compare(
    data: Interactions,
    *,
    ratios: Sequence[float] = (16.0,),
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    profile: str | Profile = "full",
    model: ModelOptions | None = None,
    jobs: int | None = 1,
    progress: bool = True,
) -> Comparison:
    """Train compressors at equal bytes and compare them with the full table and two controls.

    Args:
        data: Interactions with a split.
        ratios: Compression ratios of the input embedding, each >= 1.
        methods: Compressors, options allowed as in ``"qr(operation=concat)"``; every
            one of the registry if None. The full table and the controls are always there.
        seeds: Number of seeds per method, 0, 1, ...
        profile: ``"fast"``, ``"full"``, or a profile of your own.
        model: The ranker around the embedding; the default if None.
        jobs: Worker processes; None is one per core. Results do not depend on it. A script that
            asks for more than one must guard its main part by ``if __name__ == "__main__"``.
        progress: Show a progress bar.

    Returns:
        The table and all that it was made of.

    Raises:
        ValueError: A method is not known; a ratio, the number of seeds or the profile makes no
            sense.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    if not ratios or min(ratios) < 1:
        raise ValueError(f"ratios must be one or more numbers >= 1, got {list(ratios)}")
    if isinstance(profile, str) and profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    effort = PROFILES[profile] if isinstance(profile, str) else profile
    shape = model or ModelOptions()
    jobs = available_cores() if jobs is None else jobs
    cells = _cells([*available(), *VARIANTS] if methods is None else methods, ratios)

    tried = [
        [_trial(*cell, rate, effort, shape) for rate in _rates(cell, effort)] for cell in cells
    ]
    again = sum(seeds - 1 for method, _ in cells if method != "popular")
    total = sum(map(len, tried)) + again
    with tqdm(total=total, unit="trial", disable=not progress, leave=False) as bar:
        flat = iter(run_trials([t for cell in tried for t in cell], data, jobs=jobs, bar=bar))
        grids = [[next(flat) for _ in cell] for cell in tried]
        chosen = [best_of(grid) for grid in grids]
        more = [
            replace(best.trial, seed=seed)
            for best in chosen
            if not best.failed and best.trial.method != "popular"
            for seed in range(1, seeds)
        ]
        rest = run_trials(more, data, jobs=jobs, bar=bar)
    runs = [[best] + [r for r in rest if replace(r.trial, seed=0) == best.trial] for best in chosen]
    rows = [make_row(cell, grid, run) for cell, grid, run in zip(cells, grids, runs, strict=True)]
    full = runs[cells.index(("full", None))]
    rows = [with_loss(row, run, full) for row, run in zip(rows, runs, strict=True)]
    if effort.timing:
        rows = [_with_costs(row, best.trial, data) for row, best in zip(rows, chosen, strict=True)]
    margins = {
        method: relative_change(per_user(full), per_user(run))
        for (method, _), run in zip(cells, runs, strict=True)
        if method in CONTROLS and per_user(full).size and per_user(run).size
    }
    results = [result for grid in grids for result in grid] + rest
    return Comparison(data.name, _about(data, shape, effort, seeds, jobs), rows, margins, results)


def _cells(methods: Sequence[str], ratios: Sequence[float]) -> list[tuple[str, float | None]]:
    """(method, ratio) of every row: controls and the full table once, others once per ratio."""
    asked = [method for method in dict.fromkeys(methods) if method not in (*CONTROLS, "full")]
    for method in asked:
        parse_spec(method)
    once: list[tuple[str, float | None]] = [(name, None) for name in (*CONTROLS, "full")]
    return once + [(method, ratio) for ratio in dict.fromkeys(ratios) for method in asked]


def _rates(cell: tuple[str, float | None], effort: Profile) -> tuple[float, ...]:
    return effort.learning_rates[:1] if cell[0] == "popular" else effort.learning_rates


def _trial(
    method: str, ratio: float | None, rate: float, effort: Profile, shape: ModelOptions
) -> Trial:
    return Trial(method, ratio, 0, shape, replace(effort.training, learning_rate=rate))


def _with_costs(row: Row, trial: Trial, data: Interactions) -> Row:
    if row.failed or row.method in CONTROLS:
        return row
    try:
        costs = measure(trial, data)
    except Exception as error:  # hours of training must not be lost to a stop-watch
        warnings.warn(f"{row.method}: times not measured, {error!r}", stacklevel=2)
        return row
    return replace(row, lookup_time=costs.lookup, step_time=costs.step)


def _about(
    data: Interactions, shape: ModelOptions, effort: Profile, seeds: int, jobs: int
) -> dict[str, str]:
    tail = " → ".join(map(str, shape.hidden)) or "linear"
    samples = effort.training.samples_for(data.num_items)
    rates = ", ".join(f"{rate:g}" for rate in effort.learning_rates)
    return {
        "data": f"{data!r} {data.notes}".strip(),
        "model": f"mean-pooled history, {shape.embedding_dim} dims, tail {tail}, dropout "
        f"{shape.dropout:g}, {'tied' if shape.tied else 'own'} output",
        "training": f"{f'sampled softmax ({samples:,})' if samples else 'full softmax'}, at most "
        f"{effort.training.epochs} epochs, patience {effort.training.patience}, weight decay "
        f"{effort.training.weight_decay:g}, learning rate of {rates} by validation; {seeds} seeds",
        "times": "ratios to the full table, medians of interleaved pairs on fresh random ids",
        "threads": f"1 per trial, {jobs} at a time",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}",
    }
