"""The family table as Markdown, for the README."""

from __future__ import annotations

from collections.abc import Sequence

from memcom.course.family import Row
from memcom.embeddings import DISTINCT

HEAD = (
    "method",
    "paper",
    "vector of id i",
    "bytes",
    "ratio",
    "distinct?",
    "equal pairs",
    "sparse gradients",
    "export",
)


def family_markdown(rows: Sequence[Row]) -> str:
    """Write rows as a table, with the words for distinctness explained below it.

    Args:
        rows: From `family_table`.

    Returns:
        Markdown. Methods that cannot meet the budget show their smallest size, and a note below
        the table says why it is no smaller.
    """
    lines = [_line(HEAD), _line("--- --- --- ---: ---: --- ---: --- ---".split())]
    lines += [_line(_cells(row)) for row in rows]
    used = {row.card.distinct for row in rows}
    lines += ["", "*Distinct?*", ""]
    lines += [f"- **{word}**: {promise}." for word, promise in DISTINCT.items() if word in used]
    beyond = [row for row in rows if row.too_small]
    if beyond:
        lines += ["", "\\* cannot meet the budget, shown at its smallest:", ""]
        lines += [f"- `{row.name}`: {row.too_small}." for row in beyond]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(row: Row) -> list[str]:
    card = row.card
    paper = f"[{card.paper}]({card.paper.link})" if card.paper else "–"
    return [
        f"`{row.name}`",
        paper,
        "`" + card.formula.replace("|", "\\|") + "`",
        f"{row.nbytes:,}",
        f"{row.compression_ratio:.2f}" + ("\\*" if row.too_small else ""),
        f"{card.statement}",
        f"{row.equal_pairs:,}",
        row.sparse,
        "yes" if row.exports else "no",
    ]
