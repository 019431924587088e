"""Pages of the methods, from the cards on the classes, the planner and the committed sweeps.

A page holds related families, and a method is a section of it. Adding a method needs no change
here; one of a new family lands on the page "More methods".
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from generated import replace_pages
from sphinx.application import Sphinx

import memcom
from memcom._files import shipped
from memcom._text import table
from memcom.embeddings import DISTINCT

NUM_EMBEDDINGS, EMBEDDING_DIM, RATIO = 10_000, 64, 16
SWEEPS = ("every-method", "every-method-lastfm")

PAGES = {
    "controls": ("Full and cut tables", ("full", "truncated")),
    "hashing": ("Hashing", ("hashing",)),
    "partitions": ("Quotient and remainder", ("partitions", "binary")),
    "memcom": ("MEmCom", ("memcom",)),
    "factors": ("Factors and networks", ("factors",)),
    "memory": ("Shared memory", ("memory",)),
    "codes": ("Learned codes", ("codes",)),
    "widths": ("Widths and pruning", ("widths", "ragged", "pruning")),
    "rounding": ("Rounded numbers", ("rounding",)),
}
"""File name of each page: its title and its families, see `memcom.embeddings.Card`."""

INTRODUCTION = """\
# Methods

{count} compressors, one contract: each stands in for `torch.nn.Embedding` and is planned for a byte
budget. Not sure which to take? Read the column *use when*; [the results](../results/index.md) say
what each one loses, and [a table](../family.md) has sparse gradients and export. Bytes are those of
{n:,} ids of width {e} at {ratio}×, or the reason why a method cannot be that small.
"""
LETTERS = """\
In formulas n ids have width e and tables have m rows; upper case letters are stored, and `[a, b]`
is side by side.
"""


def by_page() -> dict[str, tuple[str, list[str]]]:
    """Sort the registered methods: file name of a page to its title and methods."""
    looks = {name: memcom.get(name).card.look for name in memcom.available()}
    ordered = sorted(looks, key=lambda name: looks[name][1])
    pages = {
        page: (title, [name for part in parts for name in ordered if looks[name][0] == part])
        for page, (title, parts) in PAGES.items()
    }
    more = [name for name in ordered if all(name not in names for _, names in pages.values())]
    return {**pages, **({"more": ("More methods", more)} if more else {})}


def stored(name: str) -> str:
    """Return the bytes of a method at `RATIO`, or why it cannot be that small."""
    try:
        plan = memcom.plan(name, NUM_EMBEDDINGS, EMBEDDING_DIM, ratio=RATIO)
    except memcom.BudgetError as error:
        return str(error).split(";")[-1].strip()
    return f"{plan.nbytes:,} ({plan.compression_ratio:.1f}×)"


def measured() -> dict[str, list[str]]:
    """Return the losses of each method in the committed sweeps of the whole registry."""
    found: dict[str, list[str]] = {}
    for sweep in SWEEPS:
        path = shipped(f"experiments/results/{sweep}/summary.csv")
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["loss"] and row["ratio"]:
                    bounds = (row["loss"], row["loss_low"], row["loss_high"])
                    loss, low, high = (100 * float(bound) for bound in bounds)
                    found.setdefault(row["method"], []).append(
                        f"{loss:.1f} % ({low:.1f} to {high:.1f}) at {float(row['ratio']):g}× "
                        f"on {row['data']}"
                    )
    return found


def paper(card: Any) -> str:
    """Return a link to the paper of a method."""
    return f"[{card.paper}]({card.paper.link})" if card.paper else "–"


def section(name: str, losses: list[str]) -> str:
    """Write the section of a method."""
    layer = memcom.get(name)
    card = layer.card
    facts = {
        "Use": card.use_when,
        "Layer": f"{{py:obj}}`~{layer.__module__}.{layer.__qualname__}`, or "
        f'`memcom.build("{name}", num_embeddings, embedding_dim, ratio=…)`',
        "Paper": paper(card),
        "Bytes": stored(name),
        "Distinct vectors": str(card.statement),
        "Learns from data first": card.learns,
        "Slower lookup": card.slow,
        "Beside results": card.note,
        "Loss of nDCG@10 against the full table": "; ".join(losses),
    }
    lines = [f"(method-{name})=", f"## {card.label}", "", "```text", card.formula, "```", ""]
    lines += [f"- **{word}:** {fact}" for word, fact in facts.items() if fact]
    return "\n".join([*lines, ""])


def contents(pages: dict[str, tuple[str, list[str]]]) -> str:
    """Write the page that lists all methods."""
    rows = []
    for name in [name for _, names in pages.values() for name in names]:
        card = memcom.get(name).card
        rows.append(
            {
                "method": f"[{name}](#method-{name})",
                "vector of id i": "`" + card.formula.replace("|", "\\|") + "`",
                "use when": card.use_when,
                "bytes": stored(name),
                "distinct": card.distinct,
            }
        )
    head = INTRODUCTION.format(count=len(rows), n=NUM_EMBEDDINGS, e=EMBEDDING_DIM, ratio=RATIO)
    lines = [head, table(rows), "", LETTERS, "## Distinct vectors", ""]
    lines += [f"- **{word}**: {means}." for word, means in DISTINCT.items()]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def write(app: Sphinx) -> None:
    """Write all pages before Sphinx looks for sources."""
    losses, pages = measured(), by_page()
    texts = {"index.md": contents(pages)}
    for page, (title, names) in pages.items():
        sections = [section(name, losses.get(name, [])) for name in names]
        texts[f"{page}.md"] = "\n".join([f"# {title}", "", LETTERS, *sections])
    replace_pages(Path(app.srcdir) / "methods", texts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the pages."""
    app.connect("builder-inited", write, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
