"""What MEmCom's paper claims, and what was supposed about the method."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.claims.answers import (
    NOT_MEASURED,
    Case,
    Finding,
    at_most,
    counted,
    difference,
    judged,
)
from experiments.claims.results import Results

RANKING = ("movielens", "ml-1m", "lastfm-2k", "google-local", "gowalla", "amazon-book-part")
ABSTRACT = (4, 12, 16, 40)
CURVE = (2, 4, 8, 12, 16, 32, 40, 60)
_PAPER = "MEmCom, abstract"
_SUPPOSED = "hypothesis"


def of_the_abstract(results: Results) -> Iterator[Finding]:
    """The figures of the abstract, on every ranking data set."""
    for ratio in ABSTRACT:
        cases: list[Case] = [(data, results.loss(data, "memcom", ratio)) for data in RANKING]
        yield judged(f"MEmCom loses at most 4 % of nDCG at {ratio}×", _PAPER, cases, at_most(0.04))
    loss = results.loss("ranknet", "memcom", 32)
    yield judged(
        "RankNet with MEmCom at 32× loses at most 1 % of nDCG",
        _PAPER,
        [("movielens", loss)],
        at_most(0.01),
    )


def against_rivals(results: Results) -> Iterator[Finding]:
    """Against what the paper compares with."""
    for other in ("hash", "qr", "truncate", "small-dim", "low-rank"):
        cases: list[Case] = [
            (f"{data} {ratio}×", results.against(data, "memcom", other, ratio))
            for data in RANKING
            for ratio in ABSTRACT
        ]
        yield counted(f"MEmCom ranks better than {other} at equal bytes", _PAPER, cases)
    for other in ("hash", "qr"):
        yield judged(
            f"MEmCom classifies texts better than {other} at equal bytes",
            "MEmCom",
            [
                (f"{sweep} {ratio}×", results.against(sweep, "memcom", other, ratio))
                for sweep in ("20newsgroups", "20newsgroups-pairs")
                for ratio in (4, 16, 32)
            ],
        )


def of_its_options(results: Results) -> Iterator[Finding]:
    """Bias, width, scalars that fewer ids share, and where the multipliers start."""
    yield counted(
        "The bias helps at equal bytes",
        _SUPPOSED,
        results.all_against("memcom-bias", "memcom", RANKING),
    )
    yield judged(
        "At widths 64, 128 and 256 MEmCom loses at most 4 %",
        _PAPER,
        [
            (f"{e} wide {r}×", results.loss("movielens-widths", "memcom", r, embedding_dim=e))
            for e in (64, 128, 256)
            for r in (4, 16, 40)
        ],
        at_most(0.04),
    )
    yield judged(
        "A scalar per quotient instead of one per id (scalar-qr) loses at most 2 % on MEmCom",
        _SUPPOSED,
        [(f"{r}×", results.against("movielens", "scalar-qr", "memcom", r)) for r in CURVE],
        at_most(0.02),
    )
    yield counted(
        "Multipliers that start apart are better than ones",
        _SUPPOSED,
        results.all_against("memcom(multiplier_init='normal')", "memcom", ["initial-multipliers"]),
    )


def of_the_order_of_ids(results: Results) -> Iterator[Finding]:
    """Ids sorted by frequency, for what takes remainders."""
    sweep, ratios = "order-of-ids", (4, 16)
    tables = [where["data"] for where in results.variants(sweep) if "data" in where]
    both = [(data, f"{data} shuffled") for data in tables if f"{data} shuffled" in tables]
    yield judged(
        "On ids sorted by frequency the plain remainder is better than a random hash",
        _SUPPOSED,
        [
            (f"{data} {r}×", results.against(sweep, "hash(seed=None)", "hash", r, data=data))
            for data, _ in both
            for r in ratios
        ],
    )
    yield judged(
        "Sorted ids are better than shuffled ones for MEmCom and quotient-remainder",
        _SUPPOSED,
        [
            (
                f"{data} {method} {r}×",
                difference(*(results.loss(sweep, method, r, data=each) for each in (data, other))),
            )
            for data, other in both
            for method in ("memcom", "memcom-bias", "qr")
            for r in ratios
        ],
    )


def of_its_weights(results: Results) -> Iterator[Finding]:
    """Multipliers of 8 bits: do ids keep their vectors, and does the score keep its height?"""
    sweep = "weight-bits"
    sixteen, eight = (f"memcom(bits=16, weight_bits={bits})" for bits in (16, 8))
    distinct = (
        results.rows(sweep)
        .pivot_table("num_distinct", index=["data", "ratio"], columns="method", sort=False)
        .reindex(columns=[sixteen, eight])
        .dropna()
    )
    fewer = bool((distinct[eight] < distinct[sixteen]).all())
    yield Finding(
        "Multipliers of 8 bits leave fewer different vectors than 16 bits, at equal bytes",
        _SUPPOSED,
        NOT_MEASURED if distinct.empty else "yes" if fewer else "no",
        "; ".join(
            f"{data} {ratio:g}× {after:,.0f} different vectors instead of {before:,.0f}"
            for (data, ratio), before, after in distinct.itertuples(name=None)
        ),
    )
    yield judged(
        "Multipliers of 8 bits lose at most 1 % on those of 16 bits, at equal bytes",
        _SUPPOSED,
        results.all_against(eight, sixteen, [sweep]),
        at_most(0.01),
    )
    yield counted(
        "MEmCom with rows of 16 bits and multipliers of 8 is better than in fp32, at equal bytes",
        _SUPPOSED,
        results.all_against(eight, "memcom", [sweep]),
    )
