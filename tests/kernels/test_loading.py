"""Kernels that are not compiled yet: who compiles them, and what lookups do until then."""

from __future__ import annotations

import ast
import importlib
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import memcom
from memcom import kernels, optim
from memcom.kernels import backend, loading, networks
from memcom.kernels.cpu.operator import lookup_in_graph
from tests.embeddings.cases import make, some_ids

needs_numba = pytest.mark.skipif(not loading.HAVE_NUMBA, reason="numba is not installed")
CPU = Path(loading.__file__).parent / "cpu"
posix = pytest.mark.skipif(loading.fcntl is None, reason="needs the locks and pipes of POSIX")


@pytest.fixture
def cache(tmp_path):
    loading._say.cache_clear()
    return loading.Cache(tmp_path, "d1gest", "key")


def keep(cache, *names):
    for name in names:
        (cache.folder / name).touch()


# --- what is on disk ------------------------------------------------------------------------------


def test_a_module_is_held_once_it_is_noted_and_while_its_files_are_there(cache):
    keep(cache, "forward.f_d1gest-1.py311.nbi", "forward.f_d1gest-1.py311.1.nbc", "g_other.nbi")
    assert not cache.holds("autograd")
    cache.note("autograd")
    assert cache.holds("autograd")
    assert not cache.holds("bag")
    assert not loading.Cache(cache.folder, "d1gest", "another processor").holds("autograd")
    (cache.folder / "g_other.nbi").unlink()
    assert cache.holds("autograd")
    (cache.folder / "forward.f_d1gest-1.py311.1.nbc").unlink()
    assert not cache.holds("autograd")


def test_a_damaged_stamp_holds_nothing(cache):
    cache.note("bag")
    stamp = next(cache.folder.glob("*bag.json"))
    stamp.write_text(stamp.read_text()[:-1])
    assert not cache.holds("bag")


@posix
def test_one_process_has_the_claim_and_loses_it_when_it_dies(cache):
    mine = cache.claim()
    assert cache.claim() is None
    heir = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(mine,)
    )
    os.close(mine)
    assert cache.claim() is None
    heir.kill()
    heir.communicate()
    free = cache.claim()
    assert free is not None
    os.close(free)


@posix
def test_a_claim_that_is_released_is_free_although_a_forked_process_has_the_file_open(cache):
    mine = cache.claim()
    forked = os.dup(mine)
    cache.release(mine)
    free = cache.claim()
    assert free is not None
    os.close(forked)
    os.close(free)


@needs_numba
def test_the_cache_of_this_machine_holds_every_compiled_function():
    """Read off the source: each function under ``@compiled`` has a file in each stamp's list."""
    kernels.warm_up()
    cache = loading.find_cache()
    if cache is None:
        pytest.skip("numba finds no folder to write to")
    assert all(cache.holds(module) for module in loading.MODULES)
    names = "".join(
        loading.stamp(cache.folder, cache.key, module).read_text() for module in loading.MODULES
    )
    entries = [
        f"{path.stem}.{node.name}_{cache.digest}"
        for path in CPU.glob("*.py")
        for node, decorators in kernels_in(path)
        if decorators.startswith("compiled")
    ]
    assert len(entries) >= 9
    assert [name for name in entries if name not in names] == []


def kernels_in(path):
    """The functions of a file that numba compiles."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            decorators = " ".join(map(ast.unparse, node.decorator_list))
            if re.match(r"njit|compiled", decorators):
                yield node, decorators


def test_no_kernel_is_compiled_again_for_unsigned_addresses():
    """Each costs seconds when the kernels are compiled, with all that it calls."""
    found = []
    for path in CPU.glob("*.py"):
        for node, _ in kernels_in(path):
            if ".ctypes." in ast.unparse(node) and node.name != "address_of":
                found.append(f"{path.name}: {node.name} takes unsigned addresses: use address_of")
    assert found == []


# --- in the background ----------------------------------------------------------------------------


@pytest.fixture
def compiler(monkeypatch, cache):
    """A compiler that notes each module when it is told to."""
    orders, answers = cache.folder / "orders", cache.folder / "answers"
    os.mkfifo(orders)
    os.mkfifo(answers)
    noted = str(loading.stamp(cache.folder, cache.key, "*"))
    code = (
        f"for word in iter(lambda: open({str(orders)!r}).read(), 'end'):\n"
        "    if word == 'fail': raise SystemExit('no space left')\n"
        f"    open({noted!r}.replace('*', word), 'w').write('[]')\n"
        f"    open({str(answers)!r}, 'w').write('done')\n"
    )

    def compile_(module):
        orders.write_text(module)
        assert answers.read_text() == "done"

    def end(background, word):
        orders.write_text(word)
        background._waiter.join()
        return started[0].returncode

    monkeypatch.setattr(loading, "compile_command", lambda: [sys.executable, "-c", code])
    monkeypatch.setattr(loading, "_environment", lambda: {**os.environ})
    monkeypatch.setattr(loading, "SECONDS", 0.0)
    started = []

    def popen(*args, **kwargs):
        started.append(subprocess.Popen(*args, **kwargs))
        return started[-1]

    fake = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(loading, "subprocess", fake)
    yield SimpleNamespace(started=started, compile=compile_, end=end)
    for process in started:
        process.kill()
        process.wait()


@posix
def test_lookups_wait_for_one_process_and_load_each_module_when_it_is_there(
    cache, compiler, caplog
):
    caplog.set_level(logging.INFO, "memcom.kernels")
    mine, others = loading.Background(cache), loading.Background(cache)
    assert mine.pending("autograd") == loading.BEING_COMPILED
    assert others.pending("autograd") == mine.pending("bag") == loading.BEING_COMPILED
    assert len(compiler.started) == 1
    (line,) = (record.getMessage() for record in caplog.records)
    assert "in the background" in line
    assert "warm_up()" in line
    compiler.compile("autograd")
    assert mine.pending("autograd") == others.pending("autograd") == ""
    assert mine.pending("bag") == others.pending("bag") == loading.BEING_COMPILED
    compiler.compile("bag")
    assert compiler.end(mine, "end") == 0
    assert mine.pending("bag") == others.pending("bag") == ""
    assert len(compiler.started) == len(caplog.records) == 1


@posix
def test_a_failure_is_said_once_and_a_later_success_is_taken(cache, compiler, caplog):
    mine = loading.Background(cache)
    mine.pending("autograd")
    assert compiler.end(mine, "fail") == 1
    why = mine.pending("autograd")
    assert "no space left" in why
    assert "warm_up()" in why
    assert mine.pending("autograd") == why
    assert len(compiler.started) == 1
    assert [r.levelname for r in caplog.records if "no space left" in r.getMessage()] == ["WARNING"]
    cache.note("autograd")  # by another process
    assert mine.pending("autograd") == ""


@posix
def test_a_process_that_has_ended_leaves_no_entry_behind(cache, compiler):
    mine = loading.Background(cache)
    mine.pending("autograd")
    compiler.end(mine, "end")
    with pytest.raises(ChildProcessError):
        os.waitpid(compiler.started[0].pid, os.WNOHANG)


@posix
def test_a_forked_process_goes_by_the_claim(cache, compiler):
    """It has no thread that waits, and no process to wait for."""
    mine, forked = loading.Background(cache), loading.Background(cache)
    mine.pending("autograd")
    forked._waiter, forked._errors = threading.Thread(), mine._errors
    assert forked.pending("autograd") == loading.BEING_COMPILED
    compiler.compile("autograd")
    assert forked.pending("autograd") == ""
    assert compiler.end(mine, "fail") == 1
    assert "no space left" in forked.pending("bag")
    assert len(compiler.started) == 1


@posix
def test_what_another_process_has_begun_and_not_ended_is_begun_again(cache, compiler):
    mine, theirs = loading.Background(cache), cache.claim()
    assert mine.pending("autograd") == loading.BEING_COMPILED
    assert compiler.started == []
    os.close(theirs)
    assert mine.pending("autograd") == loading.BEING_COMPILED
    assert len(compiler.started) == 1


def test_without_a_folder_or_an_interpreter_lookups_stay_plain_and_say_why(cache, monkeypatch):
    assert "NUMBA_CACHE_DIR" in loading.Background(None).pending("autograd")
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    why = loading.Background(cache).pending("autograd")
    assert "'/usr/bin/uwsgi' is not a Python interpreter" in why
    assert "warm_up()" in why


def test_without_locks_each_process_starts_one_compiler_apart_from_its_console(cache, monkeypatch):
    """As on Windows."""
    started, ended = [], threading.Event()

    def popen(command, **options):
        started.append(options)
        return SimpleNamespace(wait=ended.wait)

    windows = {"CREATE_NEW_PROCESS_GROUP": 0x200, "CREATE_NO_WINDOW": 0x8000000}
    fake = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL, **windows)
    monkeypatch.setattr(loading, "subprocess", fake)
    monkeypatch.setattr(loading, "fcntl", None)
    mine, theirs = loading.Background(cache), loading.Background(cache)
    for process in (mine, theirs, mine):
        assert process.pending("autograd") == loading.BEING_COMPILED
    assert [options["pass_fds"] for options in started] == [(), ()]
    assert {options["creationflags"] for options in started} == {0x8000200}
    cache.note("autograd")
    monkeypatch.setattr(mine, "_seen", {})
    assert mine.pending("autograd") == ""
    ended.set()


@needs_numba
def test_a_stamp_that_is_being_read_is_replaced_later(cache, monkeypatch):
    """Windows replaces no file that is open."""
    readers, replace = [1, 2, 3], Path.replace

    def replaced(path, target):
        if readers:
            raise PermissionError("the file is used by another process")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(loading, "time", SimpleNamespace(sleep=lambda seconds: readers.pop()))
    cache.note("autograd")
    assert cache.holds("autograd")
    assert readers == []
    monkeypatch.setattr(loading, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(loading, "_import", lambda module: None)
    readers.append(1)
    assert "another process" in loading._compile(cache, "bag")
    assert not cache.holds("bag")


def test_the_mode_is_one_of_two(monkeypatch):
    monkeypatch.setattr(loading, "_loaded", {})
    monkeypatch.setenv(loading.MODE, "later")
    with pytest.raises(ValueError, match="'background' or 'foreground', got 'later'"):
        loading.pending("autograd")


@posix
def test_the_foreground_waits_for_another_process(cache, monkeypatch, caplog):
    theirs = [cache.claim()]

    def sleep(seconds):
        cache.note("autograd")
        os.close(theirs.pop())

    monkeypatch.setattr(loading, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(loading, "_import", lambda module: pytest.fail("compiled twice"))
    loading._fill(cache, "autograd")
    assert [r.getMessage() for r in caplog.records] == [
        "memcom waits for its kernels, which another process compiles"
    ]


def test_what_cannot_be_claimed_is_left_to_be_compiled_in_memory(cache, monkeypatch):
    monkeypatch.setattr(loading, "_say", lambda line: pytest.fail(line))
    nowhere = loading.Cache(cache.folder / "nowhere", "d1gest", "key")
    loading._fill(nowhere, "autograd")
    assert not nowhere.folder.exists()


@needs_numba
def test_a_compilation_that_could_not_be_kept_is_not_noted(cache, monkeypatch):
    native = importlib.import_module("memcom.kernels.cpu.native")
    monkeypatch.setattr(native, "uncached", ["OSError: disk full"])
    monkeypatch.setattr(loading, "find_cache", lambda: cache)
    with pytest.raises(OSError, match="disk full"):
        loading.compile_all()
    assert not cache.holds("autograd")


# --- what layers and optimizers do meanwhile ------------------------------------------------------


@pytest.fixture
def compiling(monkeypatch):
    """A process whose kernels are being compiled; returns what has been loaded nevertheless."""
    loaded = []

    def load(module, load=loading.load):
        loaded.append(module)
        return load(module)

    monkeypatch.setattr(backend, "_loaded", None)
    monkeypatch.setattr(loading, "_loaded", {})
    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(loading, "pending", lambda module: loading.BEING_COMPILED)
    return loaded


@needs_numba
def test_lookups_bags_and_steps_are_plain_meanwhile(compiling, monkeypatch):
    layer, ids = make("memcom", sparse=True), some_ids(600)
    table, weights = layer.table.detach().clone(), layer.multiplier.detach().clone()
    expected = table[ids % len(table)] * weights[ids]
    found = layer(ids)
    assert torch.equal(found, expected)
    assert str(kernels.explain(layer, ids)) == f"plain: {loading.BEING_COMPILED}"
    pooled = memcom.EmbeddingBag(layer, "sum")(ids.view(60, 10))
    torch.testing.assert_close(pooled, expected.view(60, 10, -1).sum(1))
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    found.sum().backward()
    optimizer.step()
    change = torch.zeros_like(weights).index_add_(
        0, ids, table[ids % len(table)].sum(1, keepdim=True)
    )
    torch.testing.assert_close(layer.multiplier.detach(), weights - 0.5 * change)
    assert compiling == []
    monkeypatch.setattr(loading, "pending", lambda module: "")
    assert kernels.explain(layer, ids).name == "compiled"
    torch.testing.assert_close(layer(ids[:600]), plain_of(layer, ids))
    assert compiling == ["autograd"]


def plain_of(layer, ids):
    with kernels.plain():
        return layer(ids)


@needs_numba
def test_a_layer_that_the_kernels_cannot_run_has_nothing_compiled(compiling, monkeypatch):
    monkeypatch.setattr(loading, "pending", lambda module: pytest.fail("asked for"))
    ids = some_ids(600)
    for layer in (make("memcom", sparse=True).double(), make("robe").bfloat16(), make("tt")):
        optimizer = optim.SGD(layer.parameters(), lr=0.1)
        layer(ids).sum().backward()
        optimizer.step()
        assert "compiled" not in str(kernels.explain(layer, ids))
    networks.mish(torch.zeros(networks.WORTH, dtype=torch.float64))
    layer = make("memcom")
    layer(ids[:10])
    with kernels.plain():
        layer(ids)


@needs_numba
def test_fuse_waits_for_the_kernels(compiling):
    layer = make("memcom", sparse=True)
    optimizer = optim.LazyAdam(layer.parameters())
    assert optimizer.fuse(layer) == [""]
    assert compiling == ["autograd"]
    assert kernels.explain(layer).name == "plain"  # as `pending` of this test still says


@needs_numba
def test_lookups_are_plain_where_numba_does_not_import(monkeypatch, caplog):
    """As after NumPy was replaced by a version that numba does not know."""
    monkeypatch.setenv(loading.MODE, "background")
    monkeypatch.setattr(backend, "_loaded", None)
    monkeypatch.setattr(loading, "_loaded", {})
    monkeypatch.setitem(sys.modules, "memcom.kernels.cpu.native", None)
    monkeypatch.delattr("memcom.kernels.cpu.native", raising=False)
    layer, ids = make("memcom"), some_ids(600)
    loading._broken.cache_clear()
    loading._say.cache_clear()
    try:
        for _ in range(2):
            assert torch.equal(layer(ids), plain_of(layer, ids))
        assert str(kernels.explain(layer)).startswith("plain: numba does not import: ")
        with pytest.raises(ImportError):
            kernels.warm_up()
    finally:
        loading._broken.cache_clear()
    (line,) = (record.getMessage() for record in caplog.records)
    assert "numba does not import" in line


@needs_numba
def test_a_graph_has_the_kernels_compiled_while_it_is_traced(monkeypatch):
    asked = []
    monkeypatch.setattr(loading, "pending", lambda module: asked.append(module) or "")
    layer = make("memcom", device="meta")
    ids = torch.zeros(3, 2, dtype=torch.int64, device="meta")
    assert lookup_in_graph(layer.reading(), ids).shape == (3, 2, layer.embedding_dim)
    assert asked == ["autograd"]


_FIRST = """
import sys
import torch, memcom
from memcom import kernels
from memcom.kernels import loading
layer = memcom.QREmbedding(1000, 8, num_collisions=4)
ids = torch.arange(1000)
plain = layer(ids)
print(kernels.explain(layer, ids).name, "memcom.kernels.cpu.autograd" in sys.modules)
waiter = loading._background._waiter
if waiter is not None:
    waiter.join()
loading.SECONDS = 0
loading._background._seen.clear()
print(kernels.explain(layer, ids).name, torch.allclose(layer(ids), plain))
"""


@needs_numba
@pytest.mark.ci
def test_the_first_process_compiles_in_the_background_and_the_next_loads_at_once(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop(loading.MODE)
    seen = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", _FIRST],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        seen.append(run.stdout.split())
        lines = run.stderr.splitlines()
        assert len(lines) == (len(seen) == 1), run.stderr
    assert seen == [["plain", "False", "compiled", "True"], ["compiled", "True"] * 2]
