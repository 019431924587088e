"""The committed results as Markdown: what stood the test, losses by data set, every sweep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from experiments.claims.answers import Finding, percent
from experiments.claims.results import Results
from memcom._text import duration
from memcom.sweep.render import TIMES
from memcom.sweep.statistics import Interval

MAX_NAMED = 3  # versions that a sentence names


def findings_markdown(found: Iterable[Finding]) -> str:
    """A table of statements and answers, with the numbers."""
    lines = ["| statement | by | holds here | measured |", "| --- | --- | --- | --- |"]
    for statement, source, answer, evidence in found:
        bold = f"**{answer}**" if answer in ("yes", "no") else answer
        lines.append(f"| {statement} | {source} | {bold} | {evidence} |")
    return "\n".join(lines)


def losses_markdown(
    results: Results, sweeps: Sequence[str], methods: Sequence[str], ratio: float
) -> str:
    """Losses of some methods at one ratio, a row for each sweep of one table.

    Args:
        results: The committed sweeps.
        sweeps: Names; those that were not made are left out.
        methods: Columns.
        ratio: The ratio asked for.

    Returns:
        A Markdown table of losses against the full table in percent, with 95 % intervals.
    """
    lines = [
        "| data | full table | " + " | ".join(methods) + " |",
        "| --- | ---: |" + " ---: |" * len(methods),
    ]
    for sweep in sweeps:
        full = results.rows(sweep, method="full")
        if full.empty:
            continue
        losses = (results.loss(sweep, method, ratio) for method in methods)
        cells = ["" if loss is None else percent(loss) for loss in losses]
        lines.append(f"| {sweep} | {full['value'].iloc[0]:.4f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sweep_markdown(results: Results, sweep: str) -> str:
    """Every row of a sweep, and how it was made.

    Args:
        results: The committed sweeps.
        sweep: Its name.

    Returns:
        Markdown: a sentence, and a table for each table of the sweep.
    """
    lines = [made(results.trials[results.trials["sweep"] == sweep]), ""]
    summary = results.summary[results.summary["sweep"] == sweep]
    for where in results.variants(sweep):
        rows = summary
        for name, value in where.items():
            rows = rows[rows[name] == value]
        metric = rows["metric"].iloc[0]
        if where:
            title = ", ".join(f"{name} {value}" for name, value in where.items())
            lines += [f"**{title}**", ""]
        timed = [name for name in TIMES if name in rows and rows[name].notna().any()]
        head = ["asked", "method", "bytes", "ratio", f"{metric} (95 %)", "loss (95 %)", "p"]
        head += ["rate", "epoch"]
        head += [TIMES[name] for name in timed]
        lines.append(f"| {' | '.join(head)} |")
        lines.append("| --- | --- |" + " ---: |" * (len(head) - 2))
        for _, row in rows.iterrows():
            cells = _cells(row, timed)
            lines.append(f"| {' | '.join([*cells, *[''] * (len(head) - len(cells))])} |")
        lines.append("")
    return "\n".join(lines)


def made(trials: pd.DataFrame) -> str:
    """How trials were made, in a sentence; those that several sweeps share count once."""
    trials = trials.drop_duplicates("key")
    seeds = ", ".join(str(int(seed)) for seed in sorted(trials["seed"].unique()))
    versions = ", ".join(
        _version(name, sorted(map(str, trials[name].dropna().unique())))
        for name in ("torch", "python", "commit")
    )
    failed = int((trials["status"] == "failed").sum()) if "status" in trials else 0
    return (
        f"{len(trials):,} trials, {failed} failed, seeds {seeds}; "
        f"{duration(float(trials['seconds'].sum()))} of computing with one thread each on "
        f"{' and '.join(sorted(trials['machine'].dropna().unique()))}; {versions}."
    )


def _trained(row: pd.Series) -> tuple[str, str]:
    """Learning rate and epoch of a row, and whether a better one may lie beyond them."""
    if pd.isna(row["learning_rate"]):
        return "", ""
    end, last = row.get("rate_end"), row.get("last_epoch", 0)
    rate, epoch = f"{row['learning_rate']:g}", f"{row['best_epoch']:.0f}"
    return (
        f"{rate}, {end}" if isinstance(end, str) else rate,
        f"{epoch}, last" if 2 * last > row["seeds"] else epoch,
    )


def _version(name: str, found: Sequence[str]) -> str:
    """One or a few by name, many by their number; ``trials.csv`` has every trial's."""
    return f"{name} {' and '.join(found)}" if len(found) <= MAX_NAMED else f"{len(found)} {name}s"


def _cells(row: pd.Series, timed: Sequence[str]) -> list[str]:
    asked = "" if pd.isna(row["ratio"]) else f"{row['ratio']:g}×"
    if row["status"] != "finished":
        return [asked, row["method"], row["status"]]
    value, loss = (
        Interval(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in ("value", "loss")
    )
    span = "" if pd.isna(value.low) else f" ({value.low:.4f} to {value.high:.4f})"
    return [
        asked,
        row["method"],
        f"{row['nbytes']:,}",
        "" if pd.isna(row["compression_ratio"]) else f"{row['compression_ratio']:.2f}",
        f"{value.value:.4f}{span}",
        "" if pd.isna(loss.value) else percent(loss),
        "" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.2g}",
        *_trained(row),
        *("" if pd.isna(row[name]) else f"{row[name]:.2f}" for name in timed),
    ]
