"""Tables of the committed sweeps in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from experiments.claims import Finding, Results
from experiments.head_shares import RANKING
from memcom._text import duration, table
from memcom.embeddings import notes_on
from memcom.sweep import Interval
from memcom.sweep.table_text import p_text, whole_model

METHODS = ("qr", "memcom", "hash", "truncate", "small-dim", "low-rank")
FEW = METHODS[:4]
TUNED = ("qr", "qr(large='quotient')", "memcom", "hash", "truncate")
FORMS = (
    ("int4", None, "4 bits, 7.1×"),
    ("full(bits=3)", None, "3 bits, 9.1×"),
    ("full(bits=2,clip=greedy)", None, "2 bits, 12.8×"),
    ("full->lhf(bits=4)", 16, "lhf, 16×"),
    ("full->gain-shape(bits=8,weight_bits=8)", 16, "gain-shape, 16×"),
    ("full->rq", 16, "rq, 16×"),
    ("full->memcom(bits=8)", 16, "memcom, 16×"),
    ("full->lhf(bits=4)", 40, "lhf, 40×"),
    ("full->gain-shape(bits=4,weight_bits=4)", 40, "gain-shape, 40×"),
    ("full->lhf(bits=4)", 64, "lhf, 64×"),
)
"""What a trained full table is compressed to: method and ratio of the rows, and their heading."""
OTHER_TASKS = {
    "after-training-words": "20newsgroups, words: accuracy",
    "after-training-pairs": "20newsgroups, word pairs: accuracy",
    "after-training-clicks": "nycflights, 9 tables: log loss",
}
"""Sweeps of trained tables that are not rankings, as they stand in a table of losses."""
REFERENCES = {
    "full": "this kit's, full table",
    "int8": "the same, its rows rounded to 8 bits",
    "int4": "the same, its rows rounded to 4 bits",
    "ease": "EASE",
    "ials": "iALS",
    "itemknn": "item neighbours",
    "bpr": "BPR",
    "popular": "most popular",
}
TIMES = {"lookup_time": "lookup", "step_time": "step"}
MAX_NAMED = 3  # versions that a sentence names

# What to take: method as in a specification, what it stores, when; the loss is measured.
CHOICE = (
    ("qr", "ml-1m", "two small tables, rows multiplied", "first choice wherever it fits"),
    ("mixed-radix", "quotient-remainder", "three or more such tables", "`qr` cannot be that small"),
    ("memcom", "ml-1m", "shared rows, a number per id", "each id needs its own weight"),
    (
        "memcom(bits=16, weight_bits=8)", "weight-bits", "the same in 16 and 8 bits",
        "as `memcom`; freeze after training",
    ),
    ("hash", "ml-1m", "shared rows", "no list of ids, or more than 64×"),
    ("truncate", "ml-1m", "rows of the frequent ids", "the head gets most of the lookups"),
)  # fmt: skip


def losses(results: Results, methods: Sequence[str] = METHODS, ratio: float = 16) -> str:
    """Return the ranking data sets side by side: losses in percent at one ratio."""
    rows = []
    for data in RANKING:
        full = results.finished(data, method="full")
        if full.empty:
            continue
        found = {name: results.loss(data, name, ratio) for name in methods}
        cells = {name: f"{100 * loss.value:.1f}" if loss else "" for name, loss in found.items()}
        rows.append({"data": data, "full": f"{full['value'].iloc[0]:.4f}"} | cells)
    return _with_notes([table(rows, right=["full", *methods])], methods)


def whole_models(results: Results, ratio: float = 16) -> str:
    """Return how much smaller the whole model is where its table is so many times smaller."""
    rows = []
    for data in RANKING:
        full, own = (
            results.finished(data, **where)
            for where in ({"method": "full"}, {"method": "memcom", "ratio": ratio})
        )
        if full.empty or own.empty:
            continue
        nbytes, total, small = (
            int(frame[name].iloc[0])
            for frame, name in ((full, "nbytes"), (full, "total_nbytes"), (own, "total_nbytes"))
        )
        rows.append(
            {
                "data": data,
                "full table": f"{nbytes:,}",
                "whole model": f"{total:,}",
                f"with the table at {ratio:g}×": whole_model(small, total).replace("x)", "×)"),
            }
        )
    return table(rows, right=[name for name in rows[0] if name != "data"])


def references(results: Results) -> str:
    """Return the score of the full table beside those of models of another kind."""
    rows = []
    for where in results.tables("references"):
        found = results.finished("references", **where).set_index("method")
        for method, label in REFERENCES.items():
            if method in found.index:
                row = found.loc[method]
                rows.append(
                    {
                        "data": row["data"],
                        "model": label,
                        "bytes": f"{int(row['total_nbytes']):,}",
                        "nDCG@10 (95 %)": _estimate(row, "value", 1, "{:.4f}"),
                        "loss against the full table, % (95 %)": _estimate(
                            row, "loss", 100, "{:+.1f}"
                        ),
                    }
                )
    numbers = ["bytes", "nDCG@10 (95 %)", "loss against the full table, % (95 %)"]
    return _with_notes([table(rows, right=numbers)], REFERENCES)


def after_training(results: Results) -> str:
    """Return what is lost when the trained full table is compressed, and no training follows."""
    rows = []
    for sweep in (name for name in results.sweeps if name.startswith("after-training")):
        for where in results.tables(sweep):
            found = results.finished(sweep, **where)
            full = found[found["method"] == "full"].iloc[0]
            data = OTHER_TASKS.get(sweep, full["data"])
            rows.append({"data": data, "full": f"{full['value']:.4f}"})
            for method, ratio, label in FORMS:
                own = found[found["method"] == method]
                own = own[own["ratio"].isna() if ratio is None else own["ratio"] == ratio]
                rows[-1][label] = f"{100 * own['loss'].iloc[0]:+.1f}" if len(own) else ""
    order = [*RANKING, *OTHER_TASKS.values()]
    rows.sort(key=lambda row: order.index(row["data"]))
    return table(rows, right=["full", *(label for *_, label in FORMS)])


def recipes(results: Results) -> str:
    """Return the losses of recipes trained in the model, with their intervals."""
    found = results.finished("recipes")
    rows = []
    for method in dict.fromkeys(found.loc[found["ratio"].notna(), "method"]):
        losses = {f"{r:g}×": results.loss("recipes", method, r) for r in results.ratios("recipes")}
        rows.append({"recipe": f"`{method}`"} | {at: _percent(x) for at, x in losses.items()})
    return table(rows, right=[each for each in rows[0] if each != "recipe"])


def tuned(results: Results) -> str:
    """Return every data set with a tuned sweep: losses by one setting for all, and tuned by row."""
    rows = []
    for data in RANKING:
        sweeps = {"one setting": data, "tuned": f"{data}-tuned"}
        fulls = {k: results.finished(s, method="full") for k, s in sweeps.items()}
        if any(full.empty for full in fulls.values()):
            continue
        scores = {k: f"{full['value'].iloc[0]:.4f}" for k, full in fulls.items()}
        rows.append({"data": data, "method": "full table, nDCG"} | scores)
        for ratio in results.ratios(sweeps["tuned"]):
            for method in TUNED:
                found = {k: results.loss(sweep, method, ratio) for k, sweep in sweeps.items()}
                if found["tuned"] is not None:
                    losses = {k: _percent(loss) for k, loss in found.items()}
                    rows.append({"data": data, "method": f"{method}, {ratio:g}×"} | losses)
    return _with_notes([table(rows, right=["one setting", "tuned"])], TUNED)


def _percent(loss: Interval | None) -> str:
    """A loss in percent with its interval; empty where it was not measured."""
    if loss is None:
        return ""
    value, low, high = (f"{100 * each:.1f}" for each in loss)
    return f"{value} ({low} to {high})"


def choice(results: Results, ratio: float = 16) -> str:
    """Return the methods to choose from, with what each loses on ml-1m."""
    rows = []
    for method, sweep, stores, when in CHOICE:
        where = {} if sweep == "ml-1m" else {"data": "ml-1m"}
        loss = results.loss(sweep, method, ratio, **where)
        cell = f"{100 * loss.value:.1f} %" if loss else ""
        name = method.partition("(")[0] + (" in 16/8 bits" if "(" in method else "")
        rows.append({"take": f"`{name}`" if "(" not in method else f"`memcom`, {name[7:]}"})
        rows[-1] |= {"it stores": stores, "when": when, f"loss at {ratio:g}×": cell}
    return table(rows, right=[f"loss at {ratio:g}×"])


def data_sets(results: Results) -> str:
    """Return the sizes of the ranking data sets and the share of their heads."""
    rows = [
        {
            "data": row.data,
            "users": f"{row.num_users:,}",
            "items": f"{row.num_items:,}",
            "interactions": f"{row.num_interactions:,}",
            "median per item": f"{row.median_count:g}",
            "share of the top 1/16": f"{100 * row.head_share:.0f} %",
        }
        for row in results.data_sets.itertuples()
    ]
    return table(rows, right=[name for name in rows[0] if name != "data"])


def verdicts(findings: Iterable[Finding]) -> str:
    """Return every claim with its verdict, without the numbers."""
    return table(
        [
            {
                "claim": found.statement,
                "about": found.source,
                "kind": found.kind,
                "holds here": _bold(found.verdict),
            }
            for found in findings
        ]
    )


def evidence(findings: Iterable[Finding]) -> str:
    """Return every claim with its verdict and the numbers, under its topic."""
    lines: list[str] = []
    topic = ""
    for found in findings:
        if found.topic != topic:
            topic = found.topic
            lines += [f"## {topic}", ""]
        lines += [
            f"{_bold(found.verdict)} · {found.statement} *({found.source}, {found.kind})*",
            "",
        ]
        lines += [f": {found.evidence}.", ""] if found.evidence else []
    return "\n".join(lines).rstrip()


def made(trials: pd.DataFrame) -> str:
    """Return how trials were made, in a sentence; a trial that sweeps share counts once."""
    trials = trials.drop_duplicates("key")
    seeds = ", ".join(str(int(seed)) for seed in sorted(trials["seed"].unique()))
    versions = ", ".join(_versions(name, trials[name]) for name in ("torch", "python", "commit"))
    return (
        f"{len(trials):,} trials, {(trials['status'] == 'failed').sum()} failed, seeds {seeds}; "
        f"{duration(float(trials['seconds'].sum()))} of computing with one thread each on "
        f"{' and '.join(sorted(trials['machine'].dropna().unique()))}; {versions}."
    )


def sweep_tables(results: Results, sweep: str) -> str:
    """Return every row of a sweep: a Markdown table for each table of it."""
    summary = results.rows[results.rows["sweep"] == sweep]
    blocks = []
    for where in results.tables(sweep):
        rows = summary
        for name, value in where.items():
            rows = rows[rows[name] == value]
        if where:
            names = {name: f"{value:g}" if isinstance(value, float) else value
                     for name, value in where.items()}  # fmt: skip
            title = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in names.items())
            blocks.append(f"## {title}")
        done = rows[rows["status"] == "finished"]
        filled = [name for name in rows if rows[name].notna().any()]
        timed = [name for name in TIMES if name in filled]
        tuned = [n for n in filled if f"{n}_end" in rows and n != "learning_rate"]
        full = done.loc[done["method"] == "full", "total_nbytes"].max()
        lines = [_cells(row, timed, tuned, full) for _, row in done.iterrows()]
        blocks.append(table(lines, right=[name for name in lines[0] if name != "method"]))
        undone = rows[rows["status"] != "finished"]
        if len(undone):
            blocks.append("Not there:")
            blocks.append(
                "\n".join(
                    f"- `{row.method}` at {row.ratio:g}×: {row.status}"
                    for row in undone.itertuples()
                )
            )
    return _with_notes(blocks, summary["method"].unique())


def _with_notes(blocks: Sequence[str], methods: Iterable[str]) -> str:
    """Blocks of a page, and below them what the cards of methods say beside results."""
    notes = "\n".join(f"- {note}" for note in notes_on(methods))
    return "\n\n".join([*blocks, *([notes] if notes else [])])


def _cells(
    row: pd.Series, timed: Sequence[str], tuned: Sequence[str], full_nbytes: float
) -> dict[str, str]:
    epoch, last = f"{row['best_epoch']:.0f}", 2 * row.get("last_epoch", 0) > row["seeds"]
    trained = not pd.isna(row["learning_rate"])
    return {
        "ratio": _ratio(row["ratio"], row["compression_ratio"]),
        "method": row["method"],
        "bytes": f"{row['nbytes']:,}",
        "whole model": whole_model(
            int(row["total_nbytes"]), 0 if pd.isna(row["compression_ratio"]) else int(full_nbytes)
        ).replace("x)", "×)"),
        f"{row['metric']} (95 %)": _estimate(row, "value", 1, "{:.4f}"),
        "loss, % (95 %)": _estimate(row, "loss", 100, "{:+.1f}"),
        "p": p_text(row["p_holm"]),
        "rate": _chosen(row, "learning_rate"),
        **{name: _chosen(row, name) for name in tuned},
        "epoch": f"{epoch}{', last' * last}" if trained else "",
        **{TIMES[name]: _unless_nan(row[name], "{:.2f}") for name in timed},
    }


def _ratio(asked: float, stored: float) -> str:
    """The ratio asked for, and the one that came out if it is 5 % off: some sizes are coarse."""
    coarse = abs(stored / asked - 1) > 0.05
    return _unless_nan(asked, "{:g}×") + (f" ({stored:.0f}×)" if coarse else "")


def _estimate(row: pd.Series, name: str, scale: float, form: str) -> str:
    """A number with its interval, without a place to break the line."""
    value, low, high = (scale * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return ""
    span = "" if pd.isna(low) else f" ({form.format(low)} to {form.format(high)})"
    return f"{form.format(value)}{span}".replace(" ", "\u00a0")


def _chosen(row: pd.Series, name: str) -> str:
    """A value that validation chose, marked if it is an end of those that were tried."""
    value, end = row[name], row.get(f"{name}_end")
    if pd.isna(value):
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text}, {end}" if isinstance(end, str) else text


def _versions(name: str, column: pd.Series) -> str:
    """A few versions by name, many by their number; ``trials.csv`` has them all."""
    found = sorted(map(str, column.dropna().unique()))
    return f"{name} {' and '.join(found)}" if len(found) <= MAX_NAMED else f"{len(found)} {name}s"


def _unless_nan(value: Any, form: str) -> str:
    return "" if pd.isna(value) else form.format(value)


def _bold(verdict: str) -> str:
    return f"**{verdict}**" if verdict in ("yes", "no") else verdict
