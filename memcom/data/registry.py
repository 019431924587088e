"""The list of known data sets, read from ``data/registry.toml``, and where their files lie."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from memcom._files import shipped

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class File:
    """One file of a data set.

    Attributes:
        path: where it lies under the set's folder, or inside the package.
        hash: "sha256:..." or "md5:...", or None where no trustworthy one is known.
        url: where it may be downloaded, or None.
        bytes: its size, or None where unknown.
    """

    path: str
    hash: str | None = None
    url: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Form:
    """Files that together are the data set; a set may be accepted in several forms.

    Attributes:
        name: name of the form.
        files: all of them are needed.
        package: the Python package that carries them, or None.
        version: the package's version whose files match.
    """

    name: str
    files: tuple[File, ...]
    package: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Entry:
    """What the registry says of one data set.

    Attributes:
        name: the name to load it by.
        title: one line on what it is.
        kind: "interactions", "rows" or "bags".
        obtained: "download", "package", "made" or "own file".
        homepage: the page of the source.
        licence: the terms of the data.
        citation: what to cite.
        forms: the accepted forms, the preferred one first.
        rows: rows in the source, or None where that is up to the caller.
        counts: further counted sizes of the source: users, items, fields, classes, tokens.
    """

    name: str
    title: str
    kind: str
    obtained: str
    homepage: str
    licence: str
    citation: str
    forms: tuple[Form, ...] = ()
    rows: int | None = None
    counts: dict[str, Any] = field(default_factory=dict)


@cache
def entries() -> dict[str, Entry]:
    """Every known data set.

    Returns:
        name -> entry, in the order of the file.
    """
    with shipped("data/registry.toml").open("rb") as file:
        raw = tomllib.load(file)
    return {name: _entry(name, dict(values)) for name, values in raw.items()}


def _entry(name: str, values: dict[str, Any]) -> Entry:
    forms = tuple(
        Form(
            name=form["name"],
            files=tuple(File(**file) for file in form["files"]),
            package=form.get("package"),
            version=form.get("version"),
        )
        for form in values.pop("forms", [])
    )
    known = ("title", "kind", "obtained", "homepage", "licence", "citation")
    stated = {key: values.pop(key) for key in known}
    return Entry(name=name, **stated, forms=forms, rows=values.pop("rows", None), counts=values)


def lookup(name: str) -> Entry:
    """The entry of one data set.

    Args:
        name: a name in the registry.

    Returns:
        What the registry says of it.

    Raises:
        ValueError: if there is no such set; the message lists those there are.
    """
    known = entries()
    if name not in known:
        raise ValueError(f"no data set is called {name!r}; there are {', '.join(known)}")
    return known[name]


def data_root() -> Path:
    """The folder under which each set has its own: MEMCOM_DATA, if that is set.

    Otherwise the checkout's ``data/`` when memcom runs from one, else the user's cache folder.

    Returns:
        The folder; it may not exist yet.
    """
    chosen = os.environ.get("MEMCOM_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "data").is_dir():
        return _CHECKOUT / "data"
    import pooch

    return Path(pooch.os_cache("memcom"))


def describe(name: str) -> str:
    """What a data set is, its size, its terms, and whether it is here.

    Args:
        name: a name in the registry.

    Returns:
        Some lines of text.

    Raises:
        ValueError: if there is no such set.
    """
    entry = lookup(name)
    lines = [f"{entry.name}: {entry.title}", f"  kind      {entry.kind}, {entry.obtained}"]
    sizes = [] if entry.rows is None else [f"{entry.rows:,} rows"]
    for key, value in entry.counts.items():
        if isinstance(value, dict):
            sizes += [f"{size:,} distinct {column}" for column, size in value.items()]
        else:
            sizes.append(f"{value:,} {key}")
    if sizes:
        lines.append(f"  size      {', '.join(sizes)}")
    if entry.homepage:
        lines.append(f"  page      {entry.homepage}")
    lines += [f"  licence   {entry.licence}", f"  citation  {entry.citation}"]
    for form in entry.forms:
        where = f"package {form.package}=={form.version}" if form.package else "files"
        lines.append(f"  form      {form.name}: {where}")
        for file in form.files:
            size = "" if file.bytes is None else f", {file.bytes:,} bytes"
            lines.append(f"              {file.path}{size}, {file.hash or 'no known hash'}")
    if any(not form.package for form in entry.forms):
        folder = data_root() / name
        lines.append(f"  folder    {folder}{'' if folder.is_dir() else ' (not there yet)'}")
    return "\n".join(lines)
