"""What is claimed of quotient-remainder and binary codes, and what was supposed of all methods."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.claims.answers import (
    NOT_MEASURED,
    Finding,
    at_most,
    counted,
    difference,
    judged,
    together,
)
from experiments.claims.memcom_claims import RANKING
from experiments.claims.results import Results
from memcom.sweep.statistics import Interval

_QR, _BCH = "QR paper", "BCH paper"
_CLICKS = ("clicks-nycflights", "clicks-synthetic", "clicks-criteo")
_OTHER_TASKS = ("ranknet", "20newsgroups", "20newsgroups-pairs", "streaming", *_CLICKS)
_LOG_LOSS = {"dcn": 0.003, "dlrm": 0.007}  # relative, at 4 collisions
_LIGHTGCN = 0.1547  # nDCG@20 of LightGCN on its own split of Gowalla


def of_quotient_remainder(results: Results) -> Iterator[Finding]:
    """Better than hashing; which operation; paths; the paper's losses; the threshold rule."""
    everywhere = results.all_against("qr", "hash", (*RANKING, *_OTHER_TASKS))
    yield counted(
        "Quotient-remainder is better than the hashing trick at equal bytes", _QR, everywhere
    )
    for other, name in (("add", "a sum"), ("concat", "concatenation")):
        yield judged(
            f"Of quotient-remainder's operations the product is better than {name}",
            _QR,
            results.all_against("qr", f"qr(operation='{other}')", ["quotient-remainder"]),
        )
    for path in ("path", "path(hidden_dim=16)"):
        yield judged(
            f"The product is better than the way by paths, {path}",
            _QR,
            results.all_against("qr", path, ["quotient-remainder"]),
        )
    for model, limit in _LOG_LOSS.items():
        cases = [
            (f"{data} {rows['model']}", results.loss(data, "qr", 4, **rows))
            for data in _CLICKS
            for rows in results.variants(data)
            if rows["model"] == model and results.carries_signal(data, **rows)
        ]
        yield judged(
            f"Quotient-remainder at 4× loses at most {100 * limit:.1f} % of the log loss, {model}",
            _QR,
            cases,
            at_most(limit),
        )
    yield judged(
        "Keeping a full table up to 200 ids is better than up to 20, at equal bytes",
        _QR,
        [
            (
                f"{method} {model} {r}×",
                difference(*(_by_threshold(results, method, model, r, n) for n in (200, 20))),
            )
            for method in ("qr", "memcom")
            for model in _LOG_LOSS
            if results.carries_signal("clicks-synthetic", model=model, threshold=200)
            for r in (4, 16)
        ],
    )


def _by_threshold(
    results: Results, method: str, model: str, ratio: float, threshold: int
) -> Interval | None:
    return results.loss("clicks-synthetic", method, ratio, model=model, threshold=threshold)


def of_binary_codes(results: Results) -> Iterator[Finding]:
    """99 % at 1000x; succession or skip; separate tables or one."""
    sweep, ratios = "binary-code", (10, 100, 1000)
    best = [results.loss(sweep, method, 1000) for method in ("bch", "bch(shared=True)")]
    yield judged(
        "Binary codes lose at most 1 % at 1000×",
        _BCH,
        list(zip(("separate tables", "one table"), best, strict=True)),
        at_most(0.01),
    )
    for other, name in (
        ("bch(strategy='skip')", "Blocks of neighbouring bits are better than every k-th bit"),
        ("bch(shared=True)", "A table for each block is better than one for all"),
    ):
        yield judged(
            name,
            _BCH,
            [
                (_really(results, sweep, r, "bch", other), results.against(sweep, "bch", other, r))
                for r in ratios
            ],
        )


def _really(results: Results, sweep: str, ratio: float, *methods: str) -> str:
    """The ratios that two methods come to where one is asked for: some sizes are coarse."""
    stored = [results.rows(sweep, method=m, ratio=ratio)["compression_ratio"] for m in methods]
    return f"{ratio:g}× asked (" + " and ".join(f"{r.max():.0f}×" for r in stored) + " stored)"


def of_the_other_tasks(results: Results) -> Iterator[Finding]:
    """What MEmCom's paper does not say: pairs, texts, clicks and streams."""
    for other in ("hash", "qr", "low-rank"):
        yield counted(
            f"MEmCom is better than {other} on the other tasks, at equal bytes",
            "hypothesis",
            results.all_against("memcom", other, _OTHER_TASKS),
        )


def of_information_abundance(results: Results) -> Iterator[Finding]:
    """Does the abundance of the composed table tell the loss?"""
    from scipy import stats

    statement = (
        "Information abundance of the composed table falls with compression and tells the loss"
    )
    answers, evidence = [], []
    for data in RANKING:
        rows = results.rows(data)
        if "abundance" not in rows:
            continue
        rows = rows.dropna(subset=["loss", "abundance", "ratio"])
        if len(rows) < 5:
            continue
        said = []
        for column in ("loss", "compression_ratio"):
            test = stats.spearmanr(rows["abundance"], rows[column])
            sure = test.pvalue < 0.05
            answers.append(("yes" if test.statistic < 0 else "no") if sure else "open")
            name = column.replace("compression_", "")
            said.append(f"{test.statistic:+.2f} with the {name} (p = {test.pvalue:.2g})")
        evidence.append(f"{data}, {len(rows)} rows: {', '.join(said)}")
    if evidence:
        evidence[0] = "Spearman's rank correlation on " + evidence[0]
    yield Finding(statement, "hypothesis", together(answers), "; ".join(evidence))


def of_the_full_table(results: Results) -> Iterator[Finding]:
    """A full table that was left untrained would make every compressor look good."""
    statement = f"Our full table on Gowalla reaches LightGCN's published nDCG@20 of {_LIGHTGCN}"
    rows = results.rows("gowalla-reference", method="full")
    if rows.empty:
        yield Finding(statement, "LightGCN", NOT_MEASURED, "")
        return
    row = rows.iloc[0]
    answer = (
        "yes"
        if row["value_low"] >= _LIGHTGCN
        else "no"
        if row["value_high"] < _LIGHTGCN
        else "open"
    )
    evidence = (
        f"{row['value']:.4f} ({row['value_low']:.4f} to {row['value_high']:.4f}), "
        f"{100 * row['value'] / _LIGHTGCN:.0f} % of it; validation is best "
        f"after {row['best_epoch']:.0f} epochs in the mean"
    )
    yield Finding(statement, "LightGCN", answer, evidence)
