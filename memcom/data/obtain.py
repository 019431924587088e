"""Files of a data set: downloaded if need be, and parsed only after their hash matched.

The bytes that are parsed are those whose hash matched: `Obtained.read` checks them in memory.
Archives are read by base name into memory, up to `MAX_UNPACKED` bytes; nothing is unpacked onto the
disk, so the names and links in an archive reach no other file.

`pooch` downloads to a temporary name, checks the hash and renames, so a file under its final name
is always whole. A broken download starts again from the beginning; the largest file has 14 MB.
Files that you put in place by hand are checked at every load.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from memcom._annotations import checked
from memcom.data.registry import DataSet, File, FileSet, data_root, find_set

MAX_UNPACKED = 1 << 28
"""Bytes that the wanted files of one archive may have; the largest known one unpacks to 36 MB."""


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
        files: Path in the registry -> its entry there.
    """

    form: str
    folder: Path
    paths: dict[str, Path]
    files: dict[str, File]

    def read(self, name: str | None = None) -> bytes:
        """Return the content of a file, checked once more: it may have changed on the disk.

        Args:
            name: Path in the registry; None for the only file.

        Returns:
            The bytes.

        Raises:
            ChecksumError: They are not those of the registry.
        """
        if name is None:
            (name,) = self.paths
        file, path = self.files[name], self.paths[name]
        with path.open("rb") as opened:
            content = opened.read(-1 if file.bytes is None else file.bytes + 1)
        verify(path, file, "It has changed while it was read.", content)
        return content


@checked
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
        return from_package(name, forms[0])
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


def is_here(name: str) -> bool:
    """Tell if the files of a data set are here; their checksums are for the loader to check."""
    forms = find_set(name).forms
    return not forms or any(
        find_spec(form.package) is not None
        if form.package
        else all((data_root() / name / file.path).is_file() for file in form.files)
        for form in forms
    )


def verify(path: Path, file: File, advice: str, content: bytes | None = None) -> None:
    """Check the size and hash of a file, or of content read from it.

    Raises a `ChecksumError` that ends with `advice`.
    """
    import pooch

    size = path.stat().st_size if content is None else len(content)
    if file.bytes is not None and size != file.bytes:
        raise ChecksumError(f"{path}: expected {file.bytes:,} bytes, got {size:,}. {advice}")
    if file.hash is not None:
        algorithm, expected = file.hash.split(":")
        if content is None:
            got = pooch.file_hash(str(path), alg=algorithm)
        else:
            got = hashlib.new(algorithm, content).hexdigest()
        if got != expected:
            raise ChecksumError(f"{path}: expected {algorithm} {expected}, got {got}. {advice}")


def _checked(form: FileSet, folder: Path) -> Obtained:
    for file in form.files:
        again = "load the set again to download it" if file.url else "put the right one there"
        verify(folder / file.path, file, f"It is not used. Delete it, then {again}.")
    return _obtained(form, folder, folder)


def from_package(name: str, form: FileSet) -> Obtained:
    """Check files that an installed package carries; the package is not imported.

    Args:
        name: Name of what they are, for errors.
        form: The files, the package and its version.

    Returns:
        The checked files.

    Raises:
        FileNotFoundError: The package is not installed, or has no such file.
        ChecksumError: A file differs: another version is installed.
    """
    spec = find_spec(form.package or "")
    install = f"Install it with: pip install '{form.package}=={form.version}'"
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"{name} comes with the Python package {form.package}, which is not installed. "
            f"{install}"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    for file in form.files:
        if not (root / file.path).is_file():
            raise FileNotFoundError(
                f"{name}: the installed package {form.package} has no {file.path}. {install}"
            )
        verify(root / file.path, file, f"The installed {form.package} is another one. {install}")
    return _obtained(form, (root / form.files[0].path).parent, root)


def _obtained(form: FileSet, folder: Path, root: Path) -> Obtained:
    paths = {file.path: root / file.path for file in form.files}
    return Obtained(form.name, folder, paths, {file.path: file for file in form.files})


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

    try:
        pooch.retrieve(
            file.url,
            file.hash,
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(progressbar=sys.stderr.isatty()),
        )
    except OSError as error:
        if error.errno is not None:  # of the disk; those of the connection have no number
            raise
        raise DownloadError(
            f"{file.url} did not come through: {_reason(error)}. Try again, or get the file by "
            f"other means, put it at {target} and load again."
        ) from error
    except ValueError as error:  # pooch's word for a hash that differs
        raise ChecksumError(
            f"{error} Nothing was kept. Either the connection damaged the file (try again) or "
            f"{file.url} has changed upstream; then look for a newer version of memcom."
        ) from error


def _reason(error: BaseException) -> str:
    """The innermost reason why a connection failed, without the names of the layers around it."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _reason(inner).rpartition(": ")[2]
    return str(error)


def read_members(obtained: Obtained, *wanted: str) -> dict[str, bytes]:
    """Read files by their base name, from a zip archive or from the folder, into memory.

    Args:
        obtained: The files of a set.
        *wanted: Base names; one that ends in "?" may be missing.

    Returns:
        Base name -> content.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: An archive is damaged, has two files of a name, or unpacks to too many bytes.
    """
    found: dict[str, bytes] = {}
    names = [name.rstrip("?") for name in wanted]
    for name, path in obtained.paths.items():
        if path.suffix == ".zip":
            found |= _from_zip(path, obtained.read(name), names)
        elif path.name in names:
            found[path.name] = obtained.read(name)
    missing = [name for name in wanted if not name.endswith("?") and name not in found]
    if missing:
        raise FileNotFoundError(f"{obtained.folder} holds no {', '.join(missing)}")
    return found


def _from_zip(path: Path, content: bytes, names: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    left = MAX_UNPACKED
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                base = PurePosixPath(member.filename).name
                if base in names and not member.is_dir():
                    if base in found:
                        raise ValueError(f"{path} holds two files called {base}")
                    left -= member.file_size
                    if left < 0:
                        raise ValueError(f"{path} unpacks to more than {MAX_UNPACKED:,} bytes")
                    found[base] = archive.read(member)  # never more than file_size
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return found


def unpack(path: Path, content: bytes) -> bytes:
    """Return the unpacked content of a ``.gz`` file, else of an xz one.

    Raises a ValueError if it is damaged, or has more than `MAX_UNPACKED` bytes.
    """
    packed = io.BytesIO(content)
    try:
        with gzip.open(packed) if path.suffix == ".gz" else lzma.open(packed) as file:
            unpacked = file.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if len(unpacked) > MAX_UNPACKED:
        raise ValueError(f"{path} unpacks to more than {MAX_UNPACKED:,} bytes")
    return unpacked


def tar_files(path: Path, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a packed tar archive; links are left out."""
    try:
        with tarfile.open(fileobj=io.BytesIO(unpack(path, content)), mode="r:") as archive:
            for member in archive:
                opened = archive.extractfile(member) if member.isfile() else None
                if opened is not None:
                    yield member.name, opened.read()
    except tarfile.TarError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
