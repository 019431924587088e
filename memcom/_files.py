"""Files: written whole or not at all, and found in a checkout as in an installed wheel."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Return the path of a file or folder that lies beside the package in a checkout.

    A wheel carries ``notebooks``, ``experiments/results``, ``benchmarks`` and
    ``data/registry.toml`` under ``memcom/_shipped``, laid out as in the checkout.

    Args:
        name: Path relative to the root of the checkout, such as ``"notebooks"``.

    Returns:
        Where it is.

    Raises:
        FileNotFoundError: Neither a checkout nor the installed package has it.
    """
    for root in (_PACKAGE.parent, _PACKAGE / "_shipped"):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"this installation of memcom has no {name}; use a checkout")


def import_shipped(name: str) -> ModuleType:
    """Import a package that lies beside memcom in a checkout or under it in a wheel.

    Its folder is put first on ``sys.path``, and on ``PYTHONPATH`` for child processes.

    Args:
        name: Name of the package, such as ``"benchmarks"``.

    Returns:
        The package.

    Raises:
        FileNotFoundError: This installation does not have it.
    """
    root = str(shipped(name).parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    inherited = os.environ.get("PYTHONPATH", "")
    if root not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, inherited)))
    return importlib.import_module(name)


def write_atomically(path: Path | str, write: Callable[[str], object]) -> Path:
    """Write a file under a temporary name and rename it, so that no half file is ever seen.

    Args:
        path: Where to; its folder is made, an existing file is replaced.
        write: Called with the temporary path, which ends as ``path`` does; has to write that file.

    Returns:
        The path.

    Raises:
        OSError: It cannot be written. Whatever ``write`` raises, the old file stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
    )
    os.close(handle)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # or a loss of power may leave an empty file under the name
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 is for secrets
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _umask() -> int:
    """The permissions that new files are not to have; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: Path | str, text: str) -> Path:
    """Write a UTF-8 text file in one step; line ends stay as they are in ``text``."""
    content = text.encode()
    return write_atomically(path, lambda temporary: Path(temporary).write_bytes(content))


def write_json(path: Path | str, content: Any) -> Path:
    """Write strict JSON; NaN and infinity, which JSON does not know, become null."""
    return write_text(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")


def write_csv(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV, a column for every key met; None, NaN and missing become empty cells."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain(rows))
    return write_text(path, buffer.getvalue())


def plain(value: Any) -> Any:
    """Return a value with NaN and infinity replaced by None, containers as lists and dicts."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not float("-inf") < value < float("inf"):
        return None
    return value
