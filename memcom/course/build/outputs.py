"""Outputs of a run: records, results of exercises, errors of widgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from memcom.course.records import RECORD_MIME, RESULT

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


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
