"""A cache on disk that cannot be written or read: lookups work, compiled, with one warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import memcom

pytest.importorskip("numba")
if os.environ.get("MEMCOM_CHECK_KERNELS") == "1":
    pytest.skip("the checked mode keeps nothing on disk", allow_module_level=True)

ROOT = Path(memcom.__file__).resolve().parents[1]
MODULE = """
from numba import cfunc, njit, types
from memcom.kernels.cpu.native import compiled
def twice(x):
    return 2 * x
def thrice(x):
    return 3 * x
def compile_both():
    signature = types.int64(types.int64)
    return compiled(njit, signature)(twice)(4), compiled(cfunc, signature)(thrice).ctypes(4)
"""
BOTH = """
import numpy.testing, own
{}
print(*own.compile_both())
"""
LOOKUPS = """
import torch, memcom
torch.manual_seed(0)
layer, ids = memcom.build("memcom", 1000, 16, ratio=4), torch.arange(1000)
with memcom.kernels.plain():
    expected = layer(ids)
layer(ids).sum().backward()
torch.testing.assert_close(layer(ids), expected)
counts = torch.bincount(ids % len(layer.table), minlength=len(layer.table))
torch.testing.assert_close(layer.table.grad, counts[:, None].expand_as(layer.table).float())
print(memcom.kernels.explain(layer).name)
"""
LESS_THAN_ROOT = "import os; os.environ['HOME'] = '/nonexistent'; os.setuid(65534)"
SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
is_root = hasattr(os, "geteuid") and os.geteuid() == 0
not_windows = pytest.mark.skipif(sys.platform == "win32", reason="a rule of Unix")


def run(code, folder, cache):
    """What a program prints, and how often it warns, with its modules and its cache in folders."""
    (folder / "own.py").write_text(MODULE)
    ended = subprocess.run(
        [sys.executable, "-c", code, str(cache)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder))),
            "NUMBA_CACHE_DIR": str(cache),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if "RuntimeWarning" in line]
    assert all("cannot be cached on disk" in line for line in lines)
    return ended.stdout.split(), len(lines)


@pytest.mark.slow
@not_windows
def test_lookups_without_a_cache(tmp_path):
    assert run(SMALL_FILES + LOOKUPS, tmp_path, tmp_path / "cache") == (["compiled"], 1)


@pytest.mark.parametrize(
    ("before", "cache", "warnings"),
    [
        ("", "file/cache", 0),  # numba takes another folder
        pytest.param(SMALL_FILES, "cache", 1, marks=not_windows),
        pytest.param(
            LESS_THAN_ROOT,
            "file/cache",
            1,
            marks=pytest.mark.skipif(not is_root, reason="needs another user"),
        ),
    ],
    ids=["no folder", "full disk", "a user without a home"],
)
def test_functions_are_compiled_where_the_cache_cannot_be_written(
    before, cache, warnings, tmp_path
):
    (tmp_path / "file").touch()
    assert run(BOTH.format(before), tmp_path, tmp_path / cache) == (["8", "12"], warnings)


DAMAGE = """
import importlib, pathlib, sys, own
assert own.compile_both() == (8, 12)
files = {path: path.read_bytes() for path in pathlib.Path(sys.argv[1]).rglob("own*.nb[ic]")}
for kind in (
    lambda whole: whole,
    lambda whole: b"",
    lambda whole: whole[: len(whole) // 2],
    lambda whole: b"x" * len(whole),
    lambda whole: b"\\x80\\x04.",
    lambda whole: b"cnothing\\nhere\\n.",
):
    for path, whole in files.items():
        path.write_bytes(kind(whole))
    importlib.reload(own)
    assert own.compile_both() == (8, 12)
print(len(files))
"""


def test_functions_are_compiled_where_the_cache_is_damaged(tmp_path):
    assert run(DAMAGE, tmp_path, tmp_path / "cache") == (["4"], 1)


@pytest.mark.parametrize("can_be_written", [False, True])
def test_a_folder_that_only_can_be_read_is_taken_if_it_holds_these_kernels(
    can_be_written, tmp_path
):
    """As in a container that runs read-only, on an image that brings the kernels along."""
    from memcom.kernels.cpu import native
    from memcom.kernels.loading import stamp

    class Locator:
        folder = tmp_path

        def __init__(self, function, file):
            self.get_cache_path = lambda: str(self.folder)

        @classmethod
        def from_function(cls, function, file):
            return cls(function, file) if can_be_written else None

    def taken(file=native.__file__):
        return native.or_read(Locator).from_function(None, file) is not None

    assert taken() == can_be_written
    stamp(tmp_path, "another processor", "autograd").touch()
    assert taken() == can_be_written
    stamp(tmp_path, native.KEY, "autograd").touch()
    assert taken()
    assert taken(__file__) == can_be_written
    Locator.folder = Path(os.path.relpath(tmp_path))  # as where NUMBA_CACHE_DIR is not set
    assert taken() == can_be_written
