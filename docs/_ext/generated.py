"""Write generated sources: a folder holds exactly the pages given, and only changes are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def replace_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Make a folder hold these pages and no other.

    Args:
        folder: Folder of generated sources; nothing in it is written by hand.
        pages: Text of each page by its file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
