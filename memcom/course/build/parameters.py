"""The parameters cell of a notebook: literals with a type, a unit and a range."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memcom._check import choice, shown
from memcom.course.build.notebook import tagged

_NUMBER = r"(-?[0-9][0-9_]*(?:\.[0-9]+)?)"
_BETWEEN = re.compile(rf"{_NUMBER} to {_NUMBER}\s*$")
_AT_LEAST = re.compile(rf"{_NUMBER} or more\s*$")
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
        comment: Unit and range: ends in "0 or more" or "2 to 16", or has the values in quotes.
    """

    name: str
    annotation: str
    default: Any
    line: int
    comment: str = ""

    @property
    def limits(self) -> tuple[float, float] | None:
        """Least and largest number; None where the comment states none."""
        if found := _BETWEEN.search(self.comment):
            return float(found[1]), float(found[2])
        if found := _AT_LEAST.search(self.comment):
            return float(found[1]), float("inf")
        return None

    @property
    def choices(self) -> list[str]:
        """The values in quotes, for a string."""
        return re.findall(r'"([^"]*)"', self.comment) if self.annotation == "str" else []

    def check(self, value: Any, where: str) -> None:
        """Refuse a value of another type (TypeError) or out of range (ValueError)."""
        allowed = _TYPES.get(self.annotation.split("[")[0])
        wrong_bool = isinstance(value, bool) and self.annotation != "bool"
        if allowed and (not isinstance(value, allowed) or wrong_bool):
            raise TypeError(f"{where}: {self.name} must be {self.annotation}, not {shown(value)}")
        if self.choices:
            choice(f"{where}: {self.name}", value, self.choices)
        if self.limits and isinstance(value, (int, float)):
            low, high = self.limits
            if not low <= value <= high:  # NaN, too
                top = "" if high == float("inf") else f" and <= {high:g}"
                raise ValueError(
                    f"{where}: {self.name} must be >= {low:g}{top}, got {shown(value)}"
                )


def declared_parameters(source: str) -> list[Parameter]:
    """Read the source of a parameters cell; a line that assigns no literal is a ValueError."""
    parameters = []
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }
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
        comment = comments.get(node.end_lineno or node.lineno, "")
        parameters.append(Parameter(name, annotation, default, node.lineno, comment))
    return parameters


def check_parameters(notebook: Any, name: str, parameters: Mapping[str, Any]) -> None:
    """Check that a notebook has these parameters, and their values: types and ranges.

    Papermill only logs an unknown parameter and then runs with the defaults.

    Args:
        notebook: The notebook.
        name: Its name, for errors.
        parameters: The values to run with.

    Raises:
        ValueError: It has no parameters cell or not this parameter, or a value is out of range.
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
        known[key].check(value, name)


def check_running_notebook() -> None:
    """Check the parameters of the notebook that runs in this kernel.

    Papermill, or a reader, sets values without `check_parameters`. The parameters cell is the last
    one run that annotates ``PROFILE``. Outside a notebook there is none, and nothing is checked.
    """
    shell = _shell()
    for source in reversed(shell.user_ns.get("In", []) if shell else []):
        if "PROFILE:" not in source:
            continue
        try:
            declared = declared_parameters(source)
        except (ValueError, SyntaxError, tokenize.TokenError):
            continue
        for parameter in declared:
            if parameter.name in shell.user_ns:
                parameter.check(shell.user_ns[parameter.name], "the parameters cell")
        return


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ModuleNotFoundError:
        return None
    return get_ipython()
