"""Evaluate the claims of claims.toml on the committed sweeps."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.claims.results import VARIED, Results
from experiments.claims.verdicts import (
    NOT_JUDGED,
    NOT_MEASURED,
    Case,
    Finding,
    difference,
    judge,
    listing,
    tally,
)

CLAIMS = Path(__file__).with_name("claims.toml")
_COARSE = 0.1  # a stored ratio that is further off than this is told beside the ratio asked for
_WORDS = {"embedding_dim": "{:g} wide", "threshold": "threshold {:g}", "ratio": "{:g}×"}


@dataclass(frozen=True)
class Claim:
    """A statement about losses and where to look for them; claims.toml describes the fields."""

    topic: str
    statement: str
    source: str
    kind: str
    sweeps: tuple[str, ...]
    methods: tuple[str, ...] = ()
    other: str | None = None
    at_most: float | None = None
    at_least: float = 0.0
    ratios: tuple[float, ...] = ()
    where: Mapping[str, list[Any]] = field(default_factory=dict)
    contrast: Mapping[str, list[list[Any]]] = field(default_factory=dict)
    tally: bool = False
    some: bool = False
    equal_bytes: bool = False
    check: str = ""


def read_claims(path: Path = CLAIMS) -> list[Claim]:
    """Return the claims of a file, in order, entries with ``each`` written out."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    groups, topic, claims = content["groups"], "", []
    for entry in content["claim"]:
        topic = entry.setdefault("topic", topic)
        sweeps = (groups.get(name, [name]) for name in entry["sweeps"])
        entry["sweeps"] = [sweep for group in sweeps for sweep in group]
        ((key, values),) = entry.pop("each", {"topic": [topic]}).items()
        for value in values:
            fields = entry | {key: value}
            fields["statement"] = fields["statement"].format(**fields)
            claims.append(Claim(**fields))
    return claims


def findings(results: Results) -> list[Finding]:
    """Return every claim with its verdict; "not measured" where the sweeps are missing."""
    return [evaluate(claim, results) for claim in read_claims()]


def evaluate(claim: Claim, results: Results) -> Finding:
    """Return a claim with its verdict and the numbers behind it."""
    if claim.check:
        found, evidence = CHECKS[claim.check](claim, results)
    else:
        cases, left_out = cases_of(claim, results)
        found = judge((loss for _, loss in cases), claim.at_most, some=claim.some)
        evidence = (tally if claim.tally else listing)(cases)
        if left_out:
            evidence += f"; left out, not between two sizes of {claim.other}: {', '.join(left_out)}"
    return Finding(claim.topic, claim.statement, claim.source, claim.kind, found, evidence)


def cases_of(claim: Claim, results: Results) -> tuple[list[Case], list[str]]:
    """Return the losses that a claim is about, labelled by what differs between them.

    Then the labels of the cases in which the other method has no size to be compared at.
    """
    found = []
    for sweep, where, minus in _tables(claim, results):
        for method in claim.methods:
            for ratio in claim.ratios or results.ratios(sweep, **where):
                loss = results.loss(sweep, method, ratio, claim.other, **where)
                if loss and minus:
                    less = results.loss(sweep, method, ratio, claim.other, **minus)
                    loss = less and difference(loss, less)
                if not loss:
                    continue
                parts = {"sweep": "" if "data" in where else sweep} | where
                parts |= {"method": method, "ratio": ratio}
                if claim.other and claim.equal_bytes:
                    loss = results.loss_at_equal_bytes(sweep, method, ratio, claim.other, **where)
                else:
                    methods = [method, claim.other] if claim.other else [method]
                    parts["stored"] = _stored(results, sweep, methods, ratio, where)
                found.append((parts, loss))
    differ = [
        name
        for name in ("sweep", *VARIED, "method", "ratio", "stored")
        if len({parts.get(name, "") for parts, _ in found}) > 1
        or (name == "sweep" and len(claim.sweeps) > 1)
    ]
    labelled = [(_label(parts, differ), loss) for parts, loss in found]
    cases = [(label, loss) for label, loss in labelled if loss is not None]
    return cases, [label for label, loss in labelled if loss is None]


def _label(parts: Mapping[str, Any], names: list[str]) -> str:
    """The parts of these names in words, those that a case has."""
    words = (_WORDS.get(name, "{}").format(parts[name]) for name in names if name in parts)
    return " ".join(filter(None, words))


def _tables(claim: Claim, results: Results) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Sweep, table, and with a contrast the table to subtract; only tables that carry signal."""
    for sweep in claim.sweeps:
        for where in results.tables(sweep):
            if not all(where.get(name) in values for name, values in claim.where.items()):
                continue
            if not results.carries_signal(sweep, **where):
                continue
            if not claim.contrast:
                yield sweep, where, {}
            for name, pairs in claim.contrast.items():
                for first, second in pairs:
                    if where.get(name) == first:
                        yield sweep, where, where | {name: second}


def _stored(
    results: Results, sweep: str, methods: list[str], ratio: float, where: Mapping[str, Any]
) -> str:
    """Stored ratios where they are far from the one asked for: some sizes are coarse."""
    stored = [
        float(results.finished(sweep, method=m, ratio=ratio, **where)["compression_ratio"].max())
        for m in methods
    ]
    if all(abs(each / ratio - 1) <= _COARSE for each in stored):
        return ""
    return f"({' and '.join(f'{each:.0f}×' for each in stored)} stored)"


def _fewer_vectors(claim: Claim, results: Results) -> tuple[str, str]:
    """Does the method leave fewer different vectors than the other, in every table?"""
    both = [*claim.methods, str(claim.other)]
    counts = (
        results.finished(claim.sweeps[0])
        .pivot_table("num_distinct", index=["data", "ratio"], columns="method", sort=False)
        .reindex(columns=both)
        .dropna()
    )
    evidence = "; ".join(
        f"{data} {ratio:g}× {ours:,.0f} different vectors instead of {others:,.0f}"
        for (data, ratio), ours, others in counts.itertuples(name=None)
    )
    if counts.empty:
        return NOT_MEASURED, ""
    return "yes" if (counts[both[0]] < counts[both[1]]).all() else "no", evidence


def _abundance(claim: Claim, results: Results) -> tuple[str, str]:
    """Rank correlations of abundance with loss and with ratio.

    There is no verdict: the rows of a sweep share their methods and their full table, so no test
    that takes them as independent says anything.
    """
    from scipy import stats

    evidence = []
    for data in claim.sweeps:
        columns = ["loss", "ratio", "compression_ratio", "abundance"]
        rows = results.finished(data).reindex(columns=columns).dropna()
        if len(rows) < 5:
            continue
        said = []
        for name, column in (("loss", "loss"), ("ratio", "compression_ratio")):
            rho = stats.spearmanr(rows["abundance"], rows[column]).statistic
            said.append(f"{rho:+.2f} with the {name}")
        evidence.append(f"{data}, {len(rows)} rows: {', '.join(said)}")
    head = "Spearman's rank correlation on " if evidence else ""
    return NOT_JUDGED if evidence else NOT_MEASURED, head + "; ".join(evidence)


def _full_table(claim: Claim, results: Results) -> tuple[str, str]:
    """Does the score of the full table reach a published one?"""
    rows = results.finished(claim.sweeps[0], method="full")
    if rows.empty:
        return NOT_MEASURED, ""
    row, limit = rows.iloc[0], claim.at_least
    found = "yes" if row["value_low"] >= limit else "no" if row["value_high"] < limit else "open"
    return found, (
        f"{row['value']:.4f} ({row['value_low']:.4f} to {row['value_high']:.4f}), "
        f"{100 * row['value'] / limit:.0f} % of it; validation is best after "
        f"{row['best_epoch']:.0f} epochs on average"
    )


CHECKS = {"fewer_vectors": _fewer_vectors, "abundance": _abundance, "full_table": _full_table}
