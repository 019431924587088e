"""Notebook files and what they hold: cells by tag, header, parameters, records, widget errors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memcom._files import shipped, write_text
from memcom.course.records import RECORD_MIME, RESULT

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
FIELDS = ("Time to read", "Time to run", "Needs", "Before this", "Paper")
SECTIONS = ("You will be able to", "Exercises", "Summary", "References")
_FIELD = re.compile(r"^[-*] \*\*(?P<name>[^*]+?):\*\* (?P<value>.+)$", re.MULTILINE)
_ABILITY = re.compile(r"^[-*] (?!\*\*)(?P<text>.+(?:\n {2,}\S.*)*)$", re.MULTILINE)
_HEADING = re.compile(r"^(?P<marks>#{1,6}) +(?P<text>.+?) *#*$")
_TYPES: dict[str, tuple[type, ...]] = {
    **{"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)},
    **{"list": (list,), "tuple": (tuple, list), "dict": (dict,)},
}


# --- files ----------------------------------------------------------------------------------------


def read(path: str | Path) -> Any:
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
    after = _cleaned(read(path))
    if after == before:
        return False
    write_text(path, after)
    return True


def is_clean(path: Path) -> bool:
    """Tell if a notebook file has nothing that `clean` would remove."""
    return _cleaned(read(path)) == path.read_text(encoding="utf-8")


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
        abilities: What the reader will be able to do.
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


# --- parameters -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell.

    Attributes:
        name: Name of the parameter.
        annotation: Its type as written; empty where there is none.
        default: Its value.
        line: Its line in the cell, from 1.
    """

    name: str
    annotation: str
    default: Any
    line: int


def declared_parameters(source: str) -> list[Parameter]:
    """Read the source of a parameters cell; a line that assigns no literal is a ValueError."""
    parameters = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign):
            targets: list[ast.expr] = [node.target]
            annotation = ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign):
            targets, annotation = node.targets, ""
        else:
            targets, annotation = [], ""
        name = targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not name:
            raise ValueError(f"line {node.lineno} is no assignment: {ast.unparse(node)}")
        try:
            default = None if node.value is None else ast.literal_eval(node.value)
        except ValueError:
            raise ValueError(f"line {node.lineno}: {name} is no literal") from None
        parameters.append(Parameter(name, annotation, default, node.lineno))
    return parameters


def check_parameters(notebook: Any, name: str, parameters: Mapping[str, Any]) -> None:
    """Check that a notebook has these parameters and that the values are of the annotated types.

    Papermill only logs an unknown parameter and then runs with the defaults.

    Args:
        notebook: The notebook.
        name: Its name, for errors.
        parameters: The values to run with.

    Raises:
        ValueError: It has no parameters cell, or not this parameter.
        TypeError: A value is not of the annotated type.
    """
    if not parameters:
        return
    cells = tagged(notebook, "parameters")
    if len(cells) != 1:
        raise ValueError(f"{name} has {len(cells)} cells tagged 'parameters', not 1")
    known = {entry.name: entry for entry in declared_parameters(cells[0][1].source)}
    for key, value in parameters.items():
        if key not in known:
            raise ValueError(
                f"{name} has no parameter {key!r}; it has {', '.join(known) or 'none'}"
            )
        annotation = known[key].annotation
        allowed = _TYPES.get(annotation.split("[")[0])
        wrong_bool = isinstance(value, bool) and annotation != "bool"
        if allowed and (not isinstance(value, allowed) or wrong_bool):
            raise TypeError(f"{name}: {key} must be {annotation}, not {value!r}")


# --- what a run left ------------------------------------------------------------------------------


def harvest(notebook: Any, mime: str = RECORD_MIME) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield cell index and content of all that was displayed under a private MIME type."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            if mime in output.get("data", {}):
                yield index, dict(output["data"][mime])


def split_records(notebook: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the recorded values by name, and the ``"result"`` rows; no other name comes twice."""
    values: dict[str, Any] = {}
    results: list[dict[str, Any]] = []
    for index, entry in harvest(notebook):
        if entry["name"] == RESULT:
            results.append(entry["value"])
        elif entry["name"] in values:
            raise ValueError(f"cell {index} records {entry['name']!r} a second time")
        else:
            values[entry["name"]] = entry["value"]
    return values, results


def widget_errors(notebook: Any) -> list[str]:
    """Find the errors of widget callbacks, which neither Jupyter nor papermill reports.

    An exception in a callback ends up in the saved state of the widget's output and nowhere
    else: the cell, and the whole run, count as passed.

    Args:
        notebook: An executed notebook with its widget state.

    Returns:
        One text for each error: its widget, the error, its traceback.
    """
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    owners = {
        model: f"the widget of cell {index} ({_first_call(cell.source)})"
        for index, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", ())
        if WIDGET_VIEW in output.get("data", {})
        for model in _descendants(output["data"][WIDGET_VIEW]["model_id"], state)
    }
    return [
        f"{owners.get(model, 'a widget that is not shown')}: {output.get('ename')}: "
        f"{output.get('evalue')}\n" + strip_ansi("\n".join(output.get("traceback", ())))
        for model, entry in state.items()
        if entry.get("model_name") == "OutputModel"
        for output in entry["state"].get("outputs", ())
        if output.get("output_type") == "error"
    ]


def strip_ansi(text: str) -> str:
    """Remove terminal colours from a text."""
    from nbconvert.filters.ansi import strip_ansi as strip

    return str(strip(text))


def _descendants(model: str, state: Mapping[str, Any]) -> Iterator[str]:
    """Yield a widget and everything in it."""
    yield model
    for child in state.get(model, {}).get("state", {}).get("children", ()):
        yield from _descendants(str(child).removeprefix("IPY_MODEL_"), state)


def _first_call(source: str) -> str:
    """Return the first line of a cell that calls something."""
    lines = [line.strip() for line in source.splitlines() if "(" in line]
    return lines[0] if lines else "no code"
