"""Read single members of checked archives into memory; nothing is unpacked onto the disk."""

from __future__ import annotations

import zipfile
from pathlib import PurePosixPath

from memcom.data.obtain import Obtained


def read_members(obtained: Obtained, *wanted: str) -> dict[str, bytes]:
    """Read files by their base name, from a zip archive or as they lie in the folder.

    Args:
        obtained: checked files: one zip archive, or the files themselves.
        *wanted: base names; one that ends in "?" may be missing.

    Returns:
        base name -> content.

    Raises:
        FileNotFoundError: if one is missing.
    """
    found: dict[str, bytes] = {}
    names = [name.rstrip("?") for name in wanted]
    for path in obtained.paths.values():
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    base = PurePosixPath(member).name
                    if base in names:
                        found[base] = archive.read(member)
        elif path.name in names:
            found[path.name] = path.read_bytes()
    missing = [name for name in wanted if not name.endswith("?") and name not in found]
    if missing:
        raise FileNotFoundError(f"{obtained.folder} holds no {', '.join(missing)}")
    return found
