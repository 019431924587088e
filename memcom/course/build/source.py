"""Reading notebooks: cells by tag, declared parameters, widget errors."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def read(path: str | Path) -> Any:
    """Read a notebook.

    Args:
        path: An ``.ipynb`` file.

    Returns:
        The notebook as nbformat 4.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    import nbformat

    return nbformat.read(Path(path), as_version=4)


def clean(path: str | Path) -> bool:
    """Remove outputs, counts, widget state and run metadata from a notebook file.

    Args:
        path: The notebook, rewritten in place (to a temporary name, then renamed).

    Returns:
        Whether anything had to be removed.
    """
    import nbformat

    path = Path(path)
    before = path.read_text(encoding="utf-8")
    notebook = read(path)
    for key in [key for key in notebook.metadata if key not in ("kernelspec", "memcom")]:
        del notebook.metadata[key]
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    for cell in notebook.cells:
        for key in [key for key in cell.metadata if key not in ("tags", "jupyter")]:
            del cell.metadata[key]
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    after = nbformat.writes(notebook) + "\n"
    if after == before:
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(after, encoding="utf-8")
    os.replace(temporary, path)
    return True


def tags(cell: Any) -> list[str]:
    """List the tags of a cell."""
    return list(cell.metadata.get("tags", ()))


def tagged(notebook: Any, tag: str) -> list[tuple[int, Any]]:
    """Find the cells with a tag.

    Args:
        notebook: The notebook.
        tag: The tag.

    Returns:
        Index and cell of each, in order.
    """
    return [(index, cell) for index, cell in enumerate(notebook.cells) if tag in tags(cell)]


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
    """Read a parameters cell without running it.

    Args:
        source: Source of the cell.

    Returns:
        Its parameters, in order.

    Raises:
        ValueError: If a line is no assignment of a literal to a name.
    """
    parameters = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, annotation, value = node.target.id, ast.unparse(node.annotation), node.value
        elif (
            isinstance(node, ast.Assign)
            and len(node.targets) == 1
            and isinstance(node.targets[0], ast.Name)
        ):
            name, annotation, value = node.targets[0].id, "", node.value
        else:
            raise ValueError(f"line {node.lineno} is no assignment: {ast.unparse(node)}")
        try:
            default = ast.literal_eval(value) if value is not None else None
        except ValueError:
            raise ValueError(f"line {node.lineno}: {name} is no literal") from None
        parameters.append(Parameter(name, annotation, default, node.lineno))
    return parameters


def check_parameters(notebook: Any, name: str, parameters: Mapping[str, Any]) -> None:
    """Check that a notebook has the parameters that it is to be run with.

    Papermill only logs an unknown parameter and then runs with the defaults.

    Args:
        notebook: The notebook.
        name: Its name, for errors.
        parameters: The values to run with.

    Raises:
        ValueError: If it has no parameters cell, or not this parameter.
        TypeError: If a value is not of the annotated type.
    """
    if not parameters:
        return
    cells = tagged(notebook, "parameters")
    if len(cells) != 1:
        raise ValueError(f"{name} has {len(cells)} cells tagged 'parameters', not 1")
    known = {entry.name: entry for entry in declared_parameters(cells[0][1].source)}
    types: dict[str, tuple[type, ...]] = {
        **{"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)},
        **{"list": (list,), "tuple": (tuple, list), "dict": (dict,)},
    }
    for key, value in parameters.items():
        if key not in known:
            raise ValueError(
                f"{name} has no parameter {key!r}; it has {', '.join(known) or 'none'}"
            )
        annotation = known[key].annotation
        allowed = types.get(annotation.split("[")[0])
        wrong_bool = isinstance(value, bool) and annotation != "bool"
        if allowed and (not isinstance(value, allowed) or wrong_bool):
            raise TypeError(f"{name}: {key} must be {annotation}, not {value!r}")


def widget_errors(notebook: Any) -> list[str]:
    """Find the errors of widget callbacks, which neither Jupyter nor papermill reports.

    An exception in a callback ends up in the saved state of the widget's output and nowhere
    else: the cell, and the whole run, count as passed.

    Args:
        notebook: An executed notebook with its widget state.

    Returns:
        One text for each error: which widget, which error, its traceback.
    """
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    owners = {
        model: f"the widget of cell {index} ({_last_line(cell.source)})"
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
    """Walk a widget and everything in it."""
    yield model
    for child in state.get(model, {}).get("state", {}).get("children", ()):
        yield from _descendants(str(child).removeprefix("IPY_MODEL_"), state)


def _last_line(source: str) -> str:
    """Show how a cell makes its widget: its first line that calls something."""
    lines = [line.strip() for line in source.splitlines() if "(" in line]
    return lines[0] if lines else "no code"
