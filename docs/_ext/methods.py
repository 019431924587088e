"""The pages of the methods: formula, paper, bytes, and what was measured, from the classes' cards.

A family is a page and a method a section of it. A method that no family names gets a section on
the page "More methods", so that adding one needs no change here.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generated import replace_pages
from sphinx.application import Sphinx

import memcom
from memcom._text import table

NUM_EMBEDDINGS, EMBEDDING_DIM, RATIO = 10_000, 64, 16
RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"


@dataclass(frozen=True)
class Family:
    """Methods with one idea in common.

    Attributes:
        title: Heading of its page.
        use: When to use them, and when not.
        methods: Their registry names, in reading order.
    """

    title: str
    use: str
    methods: tuple[str, ...]


FAMILIES = {
    "controls": Family(
        "Full tables and controls",
        "Measure these beside any compressor. A method that loses more than the truncated or the "
        "narrow table at the same bytes does not earn its complexity. Truncating is hard to beat "
        "where a few ids get most of the lookups.",
        ("full", "truncate", "small-dim", "low-rank"),
    ),
    "hashing": Family(
        "Hashing",
        "Take hashing when the vocabulary grows without a list of ids, or when the table must be "
        "far smaller than one number per id. The hashing trick is the simplest of all methods; a "
        "second hash makes it unlikely that two ids share everything. ",
        ("hash", "double-hash", "bloom", "hash-embedding"),
    ),
    "compositional": Family(
        "Quotient and remainder",
        "Each id gets a combination of rows that no other id has. Take `qr` first: it is as quick "
        "as hashing and keeps ids apart. Combinations of three and more rows reach smaller tables "
        "and lose more.",
        ("qr", "mixed-radix", "crt", "path", "bch"),
    ),
    "memcom": Family(
        "MEmCom",
        "A shared row and one trainable number per id. Take it when every id needs its own weight "
        "and one number per id fits the budget: a table of width e cannot be smaller than 1/e of "
        "the full one. Packing the multipliers in 8 bits leaves more bytes for rows.",
        ("memcom", "memcom-bias", "scalar-qr", "k-memcom"),
    ),
    "computed": Family(
        "Computed vectors",
        "Vectors come from small factors or from a network. They store the least and compute the "
        "most: take them when memory is scarce and time is not.",
        ("tt", "dhe"),
    ),
    "shared-memory": Family(
        "One shared array",
        "All ids read from one array of numbers, at hashed or learned places. Any budget is "
        "possible, since the array has any length.",
        ("robe", "lma"),
    ),
    "learned-codes": Family(
        "Learned maps and codes",
        "Training, or a trained full table, decides which ids share. Take them when you can train "
        "a large table first and ship a small one.",
        ("dpq", "mgqe", "cce", "lhf"),
    ),
    "widths": Family(
        "Widths and pruning",
        "Frequent ids get more numbers than rare ones, by rule or by training. Take them when "
        "frequencies are skewed and an irregular layout is acceptable: lookups are slower.",
        ("mixed-dim", "jagged", "csr", "pep", "amtl", "fiited", "scall"),
    ),
    "packed": Family(
        "Packed numbers",
        "Store each number in 8 or 4 bits. It needs no training, and every other method can be "
        "packed on top with `bits=`.",
        ("int8", "int4"),
    ),
}


@dataclass(frozen=True)
class Fact:
    """What a page says of one method, from its card."""

    paper: str
    formula: str
    distinct: str


def fact(name: str) -> Fact:
    """Read the card of a method."""
    from memcom.embeddings.facts import FACTS

    facts = FACTS[name]
    paper = f"[{facts.authors} {facts.year}]({facts.link})" if facts.link else "–"
    return Fact(paper, facts.formula, f"{facts.unique}: {facts.because}")


def stored(name: str) -> str:
    """Bytes of a method at `RATIO`, or at its smallest and why it cannot be smaller."""
    try:
        plan = memcom.plan(name, NUM_EMBEDDINGS, EMBEDDING_DIM, ratio=RATIO)
    except memcom.BudgetError as error:
        return str(error).split(";")[-1].strip()
    return f"{plan.nbytes:,} ({plan.compression_ratio:.1f}×)"


def measured() -> dict[str, list[str]]:
    """Losses of each method in the committed sweeps of the whole registry."""
    found: dict[str, list[str]] = {}
    for sweep in ("every-method", "every-method-lastfm"):
        with (RESULTS / sweep / "summary.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["loss"] and row["ratio"]:
                    loss, low, high = (
                        100 * float(row[k]) for k in ("loss", "loss_low", "loss_high")
                    )
                    found.setdefault(row["method"], []).append(
                        f"{loss:.1f} % ({low:.1f} to {high:.1f}) at {float(row['ratio']):g}× on "
                        f"{row['data']}"
                    )
    return found


def section(name: str, losses: list[str]) -> list[str]:
    """Write the section of a method."""
    layer, facts = memcom.get(name), fact(name)
    lines = [f"(method-{name})=", f"## {name}", ""]
    lines += ["```text", facts.formula, "```", ""]
    lines += [f"- **Layer:** {{py:obj}}`~{layer.__module__}.{layer.__qualname__}`, built by"]
    lines += [f'  `memcom.build("{name}", num_embeddings, embedding_dim, ratio=…)`']
    lines += [f"- **Paper:** {facts.paper}", f"- **Bytes:** {stored(name)}"]
    lines += [f"- **Distinct vectors:** {facts.distinct}"]
    if losses:
        lines += [f"- **Loss of nDCG@10 against the full table:** {'; '.join(losses)}"]
    return [*lines, ""]


INTRODUCTION = """\
# Methods

{count} compressors, one contract. Bytes are those of {n:,} ids of width {e}, planned for {ratio}×;
a reason stands where a method cannot be that small. Letters: n ids of width e, tables of m rows;
`[a, b]` is side by side. [Distinct](#distinct-vectors) explains the last column.
"""


def contents(families: dict[str, Family]) -> str:
    """Write the page that lists all methods."""
    from memcom.embeddings.facts import UNIQUE

    rows = []
    for name in [name for family in families.values() for name in family.methods]:
        facts = fact(name)
        rows.append(
            {
                "method": f"[{name}](#method-{name})",
                "vector of id i": "`" + facts.formula.replace("|", "\\|") + "`",
                "paper": facts.paper,
                "bytes": stored(name),
                "distinct": facts.distinct.partition(":")[0],
            }
        )
    head = INTRODUCTION.format(count=len(rows), n=NUM_EMBEDDINGS, e=EMBEDDING_DIM, ratio=RATIO)
    lines = [head, table(rows), "", "## Distinct vectors", ""]
    lines += [f"- **{word}**: {means}." for word, means in UNIQUE.items()]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *families, "```", ""])


def families() -> dict[str, Family]:
    """Sort every registered method into a family."""
    registered = memcom.available()
    listed = {name for family in FAMILIES.values() for name in family.methods}
    more = tuple(name for name in registered if name not in listed)
    known = {
        key: Family(f.title, f.use, tuple(name for name in f.methods if name in registered))
        for key, f in FAMILIES.items()
    }
    return {**known, **({"more": Family("More methods", "", more)} if more else {})}


def write(app: Sphinx) -> None:
    """Write all pages before Sphinx looks for sources."""
    losses = measured()
    pages = {"index.md": contents(families())}
    for key, family in families().items():
        lines = [f"# {family.title}", "", family.use.strip(), ""]
        for name in family.methods:
            lines += section(name, losses.get(name, []))
        pages[f"{key}.md"] = "\n".join(lines)
    replace_pages(Path(app.srcdir) / "methods", pages)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the pages."""
    app.connect("builder-inited", write, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
