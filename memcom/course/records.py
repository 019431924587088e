"""Values that a notebook hands to its runner.

`record` displays a value under a private MIME type, so that it travels inside the executed
notebook itself: no file, no side channel, and nothing for the reader to look at.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
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
        value: Anything JSON can hold: numbers, text, booleans, None, and lists and dictionaries of
            them. Scalars and arrays of NumPy and torch are converted. A ``"result"`` is a
            dictionary with the keys ``method``, ``nbytes``, ``ratio``, ``ndcg_at_10``,
            ``loss_percent`` and optionally ``ratio_asked``.

    Raises:
        ValueError: The name is no identifier, a number is not finite, or a result has wrong keys.
        TypeError: JSON cannot hold the value.
    """
    if not _NAME.match(name):
        raise ValueError(f"cannot record {name!r}: the name must be a plain identifier")
    plain = as_plain(value, name)
    if name == RESULT:
        _check_result(plain)
    publish(name, plain)


def publish(name: str, value: Any) -> None:
    """Display one record, its name unchecked. No-op outside a kernel."""
    display_hidden(RECORD_MIME, {"name": name, "value": value}, text="")


def display_hidden(mime: str, data: Mapping[str, Any], text: str) -> bool:
    """Display data under a private MIME type and a text in its place; False outside a kernel."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return False
    from IPython.display import display

    display({mime: dict(data), "text/plain": text}, raw=True)
    return True


def as_plain(value: Any, name: str) -> Any:
    """Convert a value to what JSON can hold; `name` is its name in errors."""
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
    raise TypeError(f"cannot record {name}: JSON cannot hold a {type(value).__name__}")


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
