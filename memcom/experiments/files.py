"""Results on disk: written under a temporary name and renamed, so that no half file is seen."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_text(path: Path | str, text: str) -> Path:
    """Write a text file in one step, creating its folder.

    Args:
        path: Where to; an existing file is replaced.
        text: Written as UTF-8.

    Returns:
        The path.

    Raises:
        OSError: It cannot be written; what was there before stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or a loss of power may leave an empty file under the name
        os.chmod(temporary, 0o644)  # mkstemp's 0600 is for secrets
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def write_json(path: Path | str, content: Any) -> Path:
    """Write strict JSON; NaN and infinity, which JSON does not know, become null."""
    return write_text(path, json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")


def write_csv(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows of equal keys as CSV with a header; None and NaN become empty cells."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_plain(rows))
    return write_text(path, buffer.getvalue())


def _plain(value: Any) -> Any:
    """The value with NaN and infinity replaced by None, containers as lists and dicts."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not float("-inf") < value < float("inf"):
        return None
    return value
