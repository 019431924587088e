"""Loads the compiled kernels for the CPU, and has them compiled beforehand.

Numba compiles the kernels once for a machine and keeps them on disk. That takes many seconds, so a
lookup does not wait for it: `pending` starts it in a process of its own, and says that lookups take
the plain path until then. `load` waits.

With ``MEMCOM_COMPILE=foreground`` in the environment the first large lookup compiles, as `load`
does: for jobs whose last digits must not depend on when the compilation ended.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import IO, Any

try:
    import fcntl
except ImportError:  # on Windows every process compiles for itself
    fcntl = None  # type: ignore[assignment]

# Of `memcom.kernels.cpu`, in the order in which they are compiled: what most layers need is first.
MODULES = (
    "autograd",
    "bag",
    "assemble",
    "assembled",
    "networks",
    "codebooks",
    "grouped",
    "tensor_train",
)
MODE = "MEMCOM_COMPILE"
SECONDS = 0.2  # between two looks at the disk
_ON_WINDOWS = "CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW"  # as a new session elsewhere
_OFF = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
NO_NUMBA = "NUMBA_DISABLE_JIT is set" if _OFF else "numba is not installed"
HAVE_NUMBA = not _OFF and importlib.util.find_spec("numba") is not None
BEING_COMPILED = "the kernels are being compiled; memcom.kernels.warm_up() waits for them"

_TAKES = "once for this machine, which takes half a minute of one core"
_log = logging.getLogger("memcom.kernels")
_loaded: dict[str, ModuleType] = {}
_background: Background | None = None


def pending(module: str) -> str:
    """Return why a module of kernels cannot be loaded at once, or ``""``.

    If it has not been compiled on this machine, that starts in the background.

    Args:
        module: One of `MODULES`.

    Returns:
        The reason, for `memcom.kernels.explain`.

    Raises:
        ValueError: ``MEMCOM_COMPILE`` is neither ``background`` nor ``foreground``.
    """
    global _background
    if module in _loaded:
        return ""
    mode = os.environ.get(MODE, "background")
    if mode not in ("background", "foreground"):
        raise ValueError(f"{MODE} must be 'background' or 'foreground', got {mode!r}")
    if mode == "foreground":
        return ""
    why = _broken()
    if why or _is_checked():
        return why
    if _background is None:
        _background = Background(find_cache())
    return _background.pending(module)


@functools.cache
def _broken() -> str:
    """Return why numba cannot be imported, although it is installed, or ``""``."""
    try:
        from memcom.kernels.cpu import native  # noqa: F401
    except Exception as error:  # numba and llvmlite raise almost anything where versions differ
        why = f"numba does not import: {' '.join(str(error).split())}"
        _say(f"memcom's lookups take the plain path: {why}")
        return why
    return ""


def is_loaded(module: str) -> bool:
    """Return True if a module of kernels has been loaded: for work that is not worth loading it."""
    return module in _loaded


def load(module: str) -> ModuleType:
    """Load a module of kernels; compile it where need be, or wait for a process that does.

    Args:
        module: One of `MODULES`.

    Returns:
        The module, such as `memcom.kernels.cpu.autograd`.
    """
    if module not in _loaded:
        cache = find_cache()
        if cache is not None:
            _fill(cache, module)
        _loaded[module] = _import(module)
    return _loaded[module]


def _fill(cache: Cache, module: str) -> None:
    """Compile a module into the cache, or wait until another process has."""
    while not cache.holds(module):
        try:
            claim = cache.claim()
        except OSError:  # it cannot be written: what it lacks is compiled in memory
            return
        if claim is None:
            _say("memcom waits for its kernels, which another process compiles")
            time.sleep(SECONDS)
            continue
        try:
            if not cache.holds(module):  # since the first look
                _say(f"memcom compiles its kernels, {_TAKES}")
                if _compile(cache, module):
                    return
        finally:
            cache.release(claim)


def _compile(cache: Cache, module: str) -> str:
    """Compile a module, and note that in the cache; returns why it is not there, or ``""``."""
    from memcom.kernels.cpu import native

    _import(module)
    if native.uncached:
        return native.uncached[-1]
    try:
        cache.note(module)
    except OSError as error:
        return str(error)
    return ""


@functools.cache
def _say(line: str) -> None:
    """Say a line once, which is seen unless a program has other plans for its log."""
    _log.warning(line)


def _import(module: str) -> ModuleType:
    return importlib.import_module(f"memcom.kernels.cpu.{module}")


def _is_checked() -> bool:
    """True in the checked mode of the kernels, which are then compiled anew in every process."""
    from memcom.kernels.cpu import native

    return native.CHECKED


# --- what is on disk ------------------------------------------------------------------------------


class Cache:
    """The kernels on disk, for one version of all that they depend on.

    A stamp for each module names the files of its compilation.

    Args:
        folder: Where numba keeps them.
        digest: Part of the names of all files of these kernels.
        key: Fingerprint of sources, versions and processor.
    """

    def __init__(self, folder: Path, digest: str, key: str) -> None:
        self.folder, self.digest, self.key = folder, digest, key

    def holds(self, module: str) -> bool:
        """Return True if a module can be loaded without being compiled."""
        try:
            names = json.loads(stamp(self.folder, self.key, module).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return all((self.folder / name).exists() for name in names)

    def note(self, module: str) -> None:
        """Note that a module has been compiled, and is there with all that it imports."""
        names = sorted(path.name for path in self.folder.glob(f"*{self.digest}*.nb?"))
        unfinished = self.folder / f"memcom_{self.key}.{os.getpid()}"
        unfinished.write_text(json.dumps(names), encoding="utf-8")
        for tries_left in reversed(range(10)):
            try:
                unfinished.replace(stamp(self.folder, self.key, module))
                return
            except PermissionError:  # on Windows, while another process reads it
                if not tries_left:
                    raise
                time.sleep(SECONDS)

    def claim(self) -> int | None:
        """Claim the compilation. The claim ends when the file is closed, or with its process.

        Returns:
            The open file that holds the claim; None if another process has it.
        """
        file = os.open(self.folder / f"memcom_{self.key}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return None
            except OSError:  # a file system without locks: then several may compile, no more
                pass
        return file

    def release(self, claim: int) -> None:
        """End a claim, also for processes that were forked meanwhile and hold the file open."""
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(claim, fcntl.LOCK_UN)
        os.close(claim)


def stamp(folder: Path, key: str, module: str) -> Path:
    """Return the file that says that a folder holds a module of kernels."""
    return folder / f"memcom_{key}_{module}.json"


def find_cache() -> Cache | None:
    """Return the cache of the kernels; None if numba finds no folder to keep them in."""
    from memcom.kernels.cpu import native

    folder = native.cache_folder()
    return None if folder is None else Cache(folder, native.DIGEST, native.KEY)


# --- in the background ----------------------------------------------------------------------------


class Background:
    """The compilation by a process of its own, which this process or another has started.

    Args:
        cache: Where the kernels go; None if there is no such place.
    """

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._waiter: threading.Thread | None = None  # alive as long as the process is
        self._errors: IO[bytes] | None = None
        self._failure = ""
        self._seen: dict[str, tuple[float, str]] = {}

    def pending(self, module: str) -> str:
        """Return why a module cannot be loaded now, or ``""``; looks at the disk now and then."""
        when, why = self._seen.get(module, (0.0, ""))
        if time.monotonic() >= when:
            why = self._look(module)
            self._seen[module] = time.monotonic() + SECONDS, why
        return why

    def _look(self, module: str) -> str:
        cache = self._cache
        if cache is None:
            return self._failed("numba finds no folder to keep them in; set NUMBA_CACHE_DIR to one")
        if cache.holds(module):
            return ""
        if self._failure:
            return self._failure
        if self._waiter is not None and self._waiter.is_alive():
            return BEING_COMPILED
        try:
            claim = cache.claim()
            if claim is None:
                return BEING_COMPILED
            try:
                if cache.holds(module):  # since the first look
                    return ""
                if self._waiter is not None:
                    return self._failed(self._last_words())
                self._start(claim)
            finally:
                os.close(claim)
        except OSError as error:
            return self._failed(str(error))
        return BEING_COMPILED

    def _start(self, claim: int) -> None:
        """Start the process, which inherits the claim."""
        if "python" not in Path(sys.executable or "").name.lower():
            raise OSError(f"{sys.executable!r} is not a Python interpreter")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (read after its end)
        process = subprocess.Popen(
            compile_command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=_environment(),
            start_new_session=True,  # an interrupt from the terminal is not meant for it
            creationflags=sum(getattr(subprocess, flag, 0) for flag in _ON_WINDOWS),
            pass_fds=() if fcntl is None else (claim,),
        )
        # Else its entry would stay among the processes. A forked child has no such thread, and goes
        # by the claim.
        self._waiter = threading.Thread(target=process.wait, name="memcom-kernels", daemon=True)
        with contextlib.suppress(RuntimeError):  # at the end of the interpreter
            self._waiter.start()
        _say(
            f"memcom compiles its kernels in the background, {_TAKES}; lookups take the plain "
            "path until then. memcom.kernels.warm_up() waits for it"
        )

    def _last_words(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "the process was ended")

    def _failed(self, why: str) -> str:
        if not self._failure:
            self._failure = (
                f"the kernels could not be compiled in the background ({why}); "
                "memcom.kernels.warm_up() compiles them in this process"
            )
            _say(f"memcom's lookups take the plain path: {self._failure}")
        return self._failure


def compile_command() -> list[str]:
    """Return the command that compiles the kernels, from the folders that this process imports."""
    code = (
        "import sys; sys.path[:] = sys.argv[1:]; "
        "from memcom.kernels import loading; loading.compile_all()"
    )
    return [sys.executable, "-c", code, *map(os.path.abspath, sys.path)]


def compile_all() -> None:
    """Compile all kernels, on behalf of the process that has the claim."""
    cache = find_cache()
    assert cache is not None
    for module in MODULES:
        why = _compile(cache, module)
        if why:
            raise OSError(why)


def _environment() -> dict[str, str]:
    import numba

    config: Any = numba.config
    chosen = config.CACHE_DIR  # a program may have set it
    folder = {"NUMBA_CACHE_DIR": os.path.abspath(chosen)} if chosen else {}
    return {**os.environ, "OMP_NUM_THREADS": "1", **folder}
