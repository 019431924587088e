"""Values that a notebook hands to whoever ran it.

:func:`record` displays a value under a private MIME type, so that it travels inside the executed
notebook itself: no file, no side channel, and nothing for the reader to look at. :func:`harvest`
reads the values back.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

RECORD_MIME = "application/vnd.memcom.record+json"
RESULT = "result"
RESULT_KEYS = ("method", "nbytes", "ratio", "ndcg_at_10", "loss_percent")
OPTIONAL_RESULT_KEYS = ("ratio_asked",)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def record(name: str, value: Any) -> None:
    """Hand a value of this notebook to the runner.

    Args:
        name: A Python identifier. A notebook records each name once, except ``"result"``, which
            is one row of the summary table and may come any number of times.
        value: What JSON can hold: numbers, text, booleans, None, and lists and dictionaries of
            them. Scalars and arrays of NumPy and torch are converted. A ``"result"`` is a
            dictionary with the keys ``method``, ``nbytes``, ``ratio``, ``ndcg_at_10``,
            ``loss_percent`` and optionally ``ratio_asked``.

    Raises:
        ValueError: If the name is no identifier, a number is not finite, or a result has wrong
            keys.
        TypeError: If JSON cannot hold the value.
    """
    if not _NAME.match(name):
        raise ValueError(f"cannot record {name!r}: the name must be a plain identifier")
    plain = as_plain(value, name)
    if name == RESULT:
        _check_result(plain)
    publish(name, plain)


def publish(name: str, value: Any) -> None:
    """Display one record; outside a kernel there is nobody to tell, and nothing happens.

    Args:
        name: Name of the record, unchecked.
        value: A value that JSON can hold.
    """
    display_hidden(RECORD_MIME, {"name": name, "value": value}, text="")


def display_hidden(mime: str, data: Mapping[str, Any], text: str) -> bool:
    """Display data that only a program reads, with a text that people read.

    Args:
        mime: The private MIME type.
        data: What JSON can hold.
        text: Plain text shown in its place; may be empty.

    Returns:
        Whether there was a kernel to display it in.
    """
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return False
    from IPython.display import display

    display({mime: dict(data), "text/plain": text}, raw=True)
    return True


def as_plain(value: Any, name: str) -> Any:
    """Convert a value to what JSON can hold.

    Args:
        value: Any value.
        name: What to call it in an error.

    Returns:
        The same value made of dict, list, str, int, float, bool and None.

    Raises:
        ValueError: If a number is not finite.
        TypeError: If JSON cannot hold the value.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"cannot record {name} = {value}: a record must be finite")
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): as_plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item, f"{name}[{place}]") for place, item in enumerate(value)]
    if hasattr(value, "tolist"):  # scalars and arrays of NumPy and torch
        return as_plain(value.tolist(), name)
    raise TypeError(f"cannot record {name}: a {type(value).__name__} is nothing that JSON can hold")


def harvest(notebook: Any, mime: str = RECORD_MIME) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read what the cells of an executed notebook displayed under a private MIME type.

    Args:
        notebook: The executed notebook (nbformat 4).
        mime: The MIME type to look for.

    Yields:
        The index of the cell and what was displayed, in order.
    """
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            if mime in output.get("data", {}):
                yield index, dict(output["data"][mime])


def split_records(notebook: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Sort the records of an executed notebook.

    Args:
        notebook: The executed notebook.

    Returns:
        Every value by its name, and the list of ``"result"`` rows.

    Raises:
        ValueError: If a name other than ``"result"`` was recorded twice.
    """
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


def _check_result(result: Any) -> None:
    """Check the keys of one row of the summary table."""
    keys = set(result) if isinstance(result, dict) else set()
    missing = [key for key in RESULT_KEYS if key not in keys]
    unknown = sorted(keys - {*RESULT_KEYS, *OPTIONAL_RESULT_KEYS})
    if missing or unknown:
        raise ValueError(
            f"a result needs the keys {', '.join(RESULT_KEYS)} (and may have "
            f"{', '.join(OPTIONAL_RESULT_KEYS)}); missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(unknown) or 'none'}"
        )
