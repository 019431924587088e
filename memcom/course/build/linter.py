"""Check that a notebook file is clean, complete and in the course's order.

Each check is a small function that yields faults; `lint` runs them all. Style is ruff's business.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memcom.course.build.formulas import FormulaError, formulas, to_mathml
from memcom.course.build.notebook import (
    FIELDS,
    SECTIONS,
    headings,
    is_clean,
    read_header,
    read_notebook,
    tagged,
    tags,
)
from memcom.course.build.parameters import declared_parameters

BUILD_LINES = 40
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)")


def lint(path: str | Path) -> list[str]:
    """Check a notebook file; it is not run.

    Args:
        path: The notebook.

    Returns:
        One sentence for each fault; empty for a good notebook.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    notebook = read_notebook(path)
    faults = [] if is_clean(path) else ["it has outputs or traces of a run: memcom clean"]
    if broken := list(_syntax(notebook)):
        return faults + broken
    checks = (_header, _parameters, _build, _pictures, _exercises, _budget, _formulas)
    faults += [fault for check in checks for fault in check(notebook)]
    return faults + list(_links(notebook, path.parent))


def _header(notebook: Any) -> Iterator[str]:
    found = headings(notebook)
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        yield "the first cell must be Markdown that starts with '# Title'"
    if sum(level == 1 for level, _ in found) != 1:
        yield f"there must be one h1, not {sum(level == 1 for level, _ in found)}"
    for (above, _), (level, text) in itertools.pairwise(found):
        if level > above + 1:
            yield f"heading {text!r} skips from level {above} to {level}"
    titles = [text for level, text in found if level == 2]
    yield from (f"section '## {name}' is missing" for name in SECTIONS if name not in titles)
    present = [titles.index(name) for name in SECTIONS if name in titles]
    if present != sorted(present):
        yield f"sections must come in the order {', '.join(SECTIONS)}"
    header = read_header(notebook)
    if not header.purpose.endswith((".", "!", "?")):
        yield "a sentence of purpose must follow the title"
    if not header.abilities:
        yield "'You will be able to' must have a list"
    for name in FIELDS:
        if name not in header.fields:
            yield f"header field '- **{name}:** …' is missing"


def _parameters(notebook: Any) -> Iterator[str]:
    cells = tagged(notebook, "parameters")
    if len(cells) != 1:
        yield f"there must be one cell tagged 'parameters', not {len(cells)}"
        return
    source = cells[0][1].source
    try:
        parameters = declared_parameters(source)
    except (SyntaxError, ValueError) as error:
        yield f"parameters cell: {error}"
        return
    for parameter in parameters:
        if not parameter.annotation:
            yield f"parameter {parameter.name} has no type"
        stated = parameter.choices or parameter.limits or parameter.annotation == "bool"
        if not parameter.comment or not stated:
            yield (
                f"parameter {parameter.name} needs a comment with its unit and range: it ends in "
                "'0 or more' or '2 to 16', or has the values in double quotes"
            )
    if "PROFILE" not in {parameter.name for parameter in parameters}:
        yield "the parameter PROFILE is missing"


def _syntax(notebook: Any) -> Iterator[str]:
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            try:
                ast.parse(cell.source)
            except SyntaxError as error:
                yield f"cell {index} is no plain Python (magics are not allowed): {error}"


def _build(notebook: Any) -> Iterator[str]:
    cells = tagged(notebook, "build")
    if not cells and notebook.metadata.get("memcom", {}).get("kind") != "guide":
        yield "there must be a cell tagged 'build' that makes the idea from scratch"
    for index, cell in cells:
        count = code_lines(cell.source)
        if count >= BUILD_LINES:
            yield f"build cell {index} has {count} lines of code, not under {BUILD_LINES}"


def code_lines(source: str) -> int:
    """Count lines of code: not blank, no comment, no docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            prose.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in prose
        for number, line in enumerate(source.splitlines(), start=1)
    )


def _pictures(notebook: Any) -> Iterator[str]:
    figures = [index for index, _ in tagged(notebook, "figure")]
    widgets = [index for index, _ in tagged(notebook, "widget")]
    if not figures:
        yield "there must be a cell tagged 'figure'"
    if not widgets:
        yield "there must be a cell tagged 'widget'"
    for place, index in enumerate(widgets):
        after = widgets[place - 1] if place else -1
        if not any(after < figure < index for figure in figures):
            yield f"widget cell {index} needs its static picture (tag 'figure') before it"


def _exercises(notebook: Any) -> Iterator[str]:
    exercises = tagged(notebook, "exercise")
    if len(exercises) < 2:
        yield f"there must be two exercises, not {len(exercises)}"
    cells = notebook.cells
    for index, cell in exercises:
        before = cells[index - 1] if index else None
        after = cells[index + 1] if index + 1 < len(cells) else None
        if before is None or "check" not in tags(before):
            yield f"exercise cell {index} must follow a cell tagged 'check'"
        elif not before.metadata.get("jupyter", {}).get("source_hidden"):
            yield f"check cell {index - 1} is not folded (jupyter.source_hidden)"
        if "raise NotImplementedError" not in cell.source:
            yield f"exercise cell {index} must raise NotImplementedError where the answer goes"
        if after is None or "solution" not in tags(after):
            yield f"exercise cell {index} must be followed by a cell tagged 'solution'"
            continue
        if not after.metadata.get("jupyter", {}).get("source_hidden"):
            yield f"solution cell {index + 1} is not folded (jupyter.source_hidden)"
        if _signatures(cell.source) != _signatures(after.source):
            yield f"the functions of exercise cell {index} and its solution differ"
        for number, text, ending in (
            (index, cell.source, r"check\([^=]*\)"),
            (index + 1, after.source, r"check\([^=]*, solution=True\)"),
        ):
            last = (text.rstrip().splitlines() or [""])[-1]
            if not re.search(ending + "$", last):
                wanted = "(name, function, solution=True)" if number > index else "(name, function)"
                yield f"cell {number} must end in course.check{wanted}"


def _signatures(source: str) -> set[str]:
    """Return the public functions of a cell with their arguments."""
    body = ast.parse(source).body
    return {
        f"{node.name}({ast.unparse(node.args)})"
        for node in body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def _budget(notebook: Any) -> Iterator[str]:
    budget = notebook.metadata.get("memcom", {})
    for key in ("seconds", "peak_mib"):
        value = budget.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            yield f"metadata.memcom.{key} must be a number above 0, not {value!r}"
    if budget.get("kind", "compressor") not in ("compressor", "guide"):
        yield f"metadata.memcom.kind must be 'compressor' or 'guide', not {budget['kind']!r}"


def _links(notebook: Any, folder: Path) -> Iterator[str]:
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown":
            continue
        for match in _LINK.finditer(cell.source):
            target = match["target"]
            if target.startswith(("https://", "mailto:", "#")):
                continue
            if ":" in target or not (folder / target.split("#")[0]).exists():
                yield f"cell {index} links to {target!r}, which does not exist"


def _formulas(notebook: Any) -> Iterator[str]:
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for tex, block in formulas(cell.source):
                try:
                    to_mathml(tex, block=block)
                except FormulaError as error:
                    yield f"cell {index}: {error}"
