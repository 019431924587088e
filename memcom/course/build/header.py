"""What a notebook says about itself in its first cells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from memcom.course.build.source import tags

FIELDS = ("Time to read", "Time to run", "Needs", "Before this", "Paper")
SECTIONS = ("You will be able to", "Exercises", "Summary", "References")
_FIELD = re.compile(r"^[-*] \*\*(?P<name>[^*]+?):\*\* (?P<value>.+)$", re.MULTILINE)
_ABILITY = re.compile(r"^[-*] (?!\*\*)(?P<text>.+(?:\n {2,}\S.*)*)$", re.MULTILINE)
_HEADING = re.compile(r"^(?P<marks>#{1,6}) +(?P<text>.+?) *#*$")


@dataclass(frozen=True)
class Header:
    """The first cells of a notebook, read.

    Attributes:
        title: Text of the h1.
        purpose: The sentence below it.
        abilities: What the reader will be able to do.
        fields: The header's facts by name (:data:`FIELDS`).
    """

    title: str
    purpose: str
    abilities: tuple[str, ...]
    fields: dict[str, str]


def read_header(notebook: Any) -> Header:
    """Read what comes before the parameters cell.

    Args:
        notebook: The notebook.

    Returns:
        What is there; missing parts are empty.
    """
    texts = []
    for cell in notebook.cells:
        if "parameters" in tags(cell):
            break
        if cell.cell_type == "markdown":
            texts.append(cell.source)
    text = "\n\n".join(texts)
    title, _, rest = text.partition("\n")
    before, _, after = rest.partition(f"## {SECTIONS[0]}")
    return Header(
        title=title.removeprefix("# ").strip() if title.startswith("# ") else "",
        purpose=" ".join(before.split()),
        abilities=tuple(" ".join(match["text"].split()) for match in _ABILITY.finditer(after)),
        fields={match["name"]: match["value"].strip() for match in _FIELD.finditer(text)},
    )


def headings(notebook: Any) -> list[tuple[int, str]]:
    """List the headings of the Markdown cells, code blocks left out.

    Args:
        notebook: The notebook.

    Returns:
        Level (1 to 6) and text of each, in order.
    """
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        fenced = False
        for line in cell.source.splitlines():
            if line.lstrip().startswith(("```", "~~~")):
                fenced = not fenced
            match = None if fenced else _HEADING.match(line)
            if match:
                found.append((len(match["marks"]), match["text"]))
    return found
