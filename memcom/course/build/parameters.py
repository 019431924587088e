"""The parameters cell of a notebook: literals with a type, a unit and a range."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memcom.course.build.notebook import tagged

_TYPES: dict[str, tuple[type, ...]] = {
    **{"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)},
    **{"list": (list,), "tuple": (tuple, list), "dict": (dict,)},
}


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
