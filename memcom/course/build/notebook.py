"""Notebook files: read, cleaned, copied; their cells by tag, header and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memcom._files import shipped, write_text

FIELDS = ("Time to read", "Time to run", "Needs", "Before this", "Paper")
SECTIONS = ("You will be able to", "Exercises", "Summary", "References")
_FIELD = re.compile(r"^[-*] \*\*(?P<name>[^*]+?):\*\* (?P<value>.+)$", re.MULTILINE)
_ABILITY = re.compile(r"^[-*] (?!\*\*)(?P<text>.+(?:\n {2,}\S.*)*)$", re.MULTILINE)
_HEADING = re.compile(r"^(?P<marks>#{1,6}) +(?P<text>.+?) *#*$")


# --- files ----------------------------------------------------------------------------------------


def read_notebook(path: str | Path) -> Any:
    """Read a notebook file as nbformat 4."""
    import nbformat

    return nbformat.read(Path(path), as_version=4)


def clean(path: str | Path) -> bool:
    """Remove outputs, counts, widget state and run metadata from a notebook file.

    Args:
        path: The notebook, rewritten in place.

    Returns:
        True if anything had to be removed.

    Raises:
        FileNotFoundError: There is no such file.
    """
    before = Path(path).read_text(encoding="utf-8")
    after = _cleaned(read_notebook(path))
    if after == before:
        return False
    write_text(path, after)
    return True


def is_clean(path: Path) -> bool:
    """Tell if a notebook file has nothing that `clean` would remove."""
    return _cleaned(read_notebook(path)) == path.read_text(encoding="utf-8")


def _cleaned(notebook: Any) -> str:
    import nbformat

    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    known = {"kernelspec": kernel, "language_info": {"name": "python"}}
    known["memcom"] = notebook.metadata.get("memcom", {})
    kept = {"kernelspec", *notebook.metadata}
    notebook.metadata = nbformat.from_dict({k: v for k, v in known.items() if k in kept})
    for cell in notebook.cells:
        for key in [key for key in cell.metadata if key not in ("tags", "jupyter")]:
            del cell.metadata[key]
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return str(nbformat.writes(notebook)) + "\n"


def copy_notebooks(folder: str | Path) -> list[Path]:
    """Copy the course's notebooks out of the wheel or checkout.

    Args:
        folder: Where to; it is made if it does not exist.

    Returns:
        The copies, in order. Files that are there already and equal stay as they are.

    Raises:
        FileExistsError: A file of that name is there and differs. Nothing is copied then.
        FileNotFoundError: This installation has no notebooks.
    """
    originals = sorted(shipped("notebooks").glob("*.ipynb"))
    copies = [Path(folder) / path.name for path in originals]
    pairs = list(zip(originals, copies, strict=True))
    changed = [b.name for a, b in pairs if b.exists() and a.read_bytes() != b.read_bytes()]
    if changed:
        raise FileExistsError(
            f"{folder} has changed notebooks: {', '.join(changed)}; move them away or choose "
            "another folder"
        )
    for original, copy in pairs:
        write_text(copy, original.read_text(encoding="utf-8"))
    return copies


# --- cells ----------------------------------------------------------------------------------------


def tags(cell: Any) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", ()))


def tagged(notebook: Any, tag: str) -> list[tuple[int, Any]]:
    """Return index and cell of each cell with a tag, in order."""
    return [(index, cell) for index, cell in enumerate(notebook.cells) if tag in tags(cell)]


@dataclass(frozen=True)
class Header:
    """Facts in the first cells of a notebook.

    Attributes:
        title: Text of the h1.
        purpose: The sentence below it.
        abilities: Skills the reader will have.
        fields: The header's facts by name (`FIELDS`).
    """

    title: str
    purpose: str
    abilities: tuple[str, ...]
    fields: dict[str, str]


def read_header(notebook: Any) -> Header:
    """Read the Markdown before the parameters cell; missing parts are empty."""
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
    """Return level and text of each Markdown heading in order, code blocks left out."""
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
