"""The list of known data sets, read from ``data/registry.toml``, and the folder of their files."""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from memcom._annotations import checked
from memcom._check import did_you_mean
from memcom._files import shipped

_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class File:
    """One file of a data set.

    Attributes:
        path: Path under the set's folder, or inside the package.
        hash: "sha256:..." or "md5:...", or None where no trustworthy one is known.
        url: Address to download it from, or None.
        bytes: Size, or None where unknown.
    """

    path: str
    hash: str | None = None
    url: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class FileSet:
    """Files that together are a data set; a set may be accepted in several forms.

    Attributes:
        name: Name of the form.
        files: The files, all of them needed.
        package: Python package that carries them, or None.
        version: Version of the package whose files match.
    """

    name: str
    files: tuple[File, ...]
    package: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class DataSet:
    """Entry of one data set in the registry.

    Attributes:
        name: Name to load it by.
        title: Description of one line.
        kind: "interactions", "rows" or "bags".
        obtained: "download", "package", "made" or "own file".
        homepage: Page of the source.
        licence: Terms of the data.
        citation: Publication to cite.
        forms: Accepted forms, the preferred one first.
        rows: Rows in the source, or None where that is up to the caller.
        counts: Further counted sizes of the source: users, items, fields, classes, tokens.
    """

    name: str
    title: str
    kind: str
    obtained: str
    homepage: str
    licence: str
    citation: str
    forms: tuple[FileSet, ...] = ()
    rows: int | None = None
    counts: dict[str, Any] = field(default_factory=dict)


@cache
def data_sets() -> dict[str, DataSet]:
    """Return every known data set by name, in the order of the registry."""
    with shipped("data/registry.toml").open("rb") as file:
        raw = tomllib.load(file)
    return {name: _data_set(name, dict(values)) for name, values in raw.items()}


def _data_set(name: str, values: dict[str, Any]) -> DataSet:
    forms = tuple(
        FileSet(**{**form, "files": tuple(File(**file) for file in form["files"])})
        for form in values.pop("forms", [])
    )
    known = ("title", "kind", "obtained", "homepage", "licence", "citation")
    stated = {key: values.pop(key) for key in known}
    return DataSet(name=name, **stated, forms=forms, rows=values.pop("rows", None), counts=values)


def find_set(name: str) -> DataSet:
    """Return a data set by name; raise a ValueError that lists the known ones."""
    known = data_sets()
    if name not in known:
        hint = did_you_mean(name, known)
        raise ValueError(f"no data set is called {name!r}; there are {', '.join(known)}{hint}")
    return known[name]


def data_root() -> Path:
    """Return the folder that holds a folder for each set; it may not exist yet.

    This is MEMCOM_DATA if that is set, else the checkout's ``data/`` when memcom runs from one,
    else the user's cache folder.
    """
    chosen = os.environ.get("MEMCOM_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "data").is_dir():
        return _CHECKOUT / "data"
    return _cache() / "memcom"


def _cache() -> Path:
    """The user's folder of caches, by the customs of the system."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(local) / "memcom"  # a program has a folder of its own there
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@checked
def describe(name: str) -> str:
    """Describe a data set: contents, size, terms, and whether it is here.

    Args:
        name: Name in the registry.

    Returns:
        Some lines of text.

    Raises:
        ValueError: If there is no such set.
    """
    found = find_set(name)
    sizes = [] if found.rows is None else [f"{found.rows:,} rows"]
    for key, value in found.counts.items():
        if isinstance(value, dict):
            sizes += [f"{size:,} distinct {column}" for column, size in value.items()]
        else:
            sizes.append(f"{value:,} {key}")
    facts = [
        ("kind", f"{found.kind}, {found.obtained}"),
        ("size", ", ".join(sizes)),
        ("page", found.homepage),
        ("licence", found.licence),
        ("citation", found.citation),
    ]
    for form in found.forms:
        where = f"package {form.package}=={form.version}" if form.package else "files"
        facts.append(("form", f"{form.name}: {where}"))
        for file in form.files:
            size = "" if file.bytes is None else f", {file.bytes:,} bytes"
            facts.append(("", f"  {file.path}{size}, {file.hash or 'no known hash'}"))
    if any(not form.package for form in found.forms):
        folder = data_root() / name
        facts.append(("folder", f"{folder}{'' if folder.is_dir() else ' (not there yet)'}"))
    lines = [f"  {label:<10}{text}" for label, text in facts if text]
    return "\n".join([f"{found.name}: {found.title}", *lines])
