"""Worker processes: none outlives its sweep, and a killed command loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("joblib")
psutil = pytest.importorskip("psutil")

from memcom.data import load
from memcom.sweep import Store, run, tables
from tests.sweep import toy
from tests.sweep.toy import contents, spec

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _toys_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_killed_worker_takes_no_other_trial_along(tmp_path, data):
    from memcom.sweep.processes import LocalProcesses

    (table,) = tables(spec(options={"work": 200}), data)
    trials = [cell.first for cell in table.cells[-3:]]
    workers = LocalProcesses(data, Store(tmp_path), 2)
    try:
        killed, other = (workers.submit(trial) for trial in trials[:2])
        with pytest.raises(RuntimeError, match="all 2 workers"):
            workers.submit(trials[2])
        (pid,) = workers.workers[0].pool._processes
        os.kill(pid, signal.SIGKILL)
        assert type(killed.exception(60)).__name__ == "TerminatedWorkerError"
        assert other.result(60).trial == trials[1]
        assert workers.submit(trials[2]).result(60).trial == trials[2]
        # as when it was started first
        assert workers.workers[0].pool.submit(os.getenv, "MALLOC_MMAP_MAX_").result(60) == "0"
    finally:
        workers.close()
    assert {record.trial for record in Store(tmp_path).records()} == set(trials[1:])


def test_workers_end_with_the_process_that_started_them(tmp_path):
    code = (
        "import sys\n"
        "from memcom.sweep import Store\n"
        "from memcom.sweep.processes import LocalProcesses, _Worker\n"
        "owner = LocalProcesses(None, Store(sys.argv[1]))\n"
        "worker = _Worker(owner.source, owner.store, 'cpu')\n"
        "worker.ready.result()\n"
        "print(*worker.pool._processes, flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **pipes) as process:
        worker = psutil.Process(int(process.stdout.readline()))
        process.kill()
        worker.wait(30)  # raises TimeoutExpired where it stays


def test_data_left_behind_by_killed_sweeps_goes_and_that_of_others_stays(tmp_path, monkeypatch):
    from memcom.sweep.processes import PREFIX, LocalProcesses

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed, starting = (tmp_path / f"{PREFIX}{name}" for name in ("killed", "starting"))
    for folder in (killed, starting):
        folder.mkdir()
        (folder / "lock").touch()
    (killed / "data").write_bytes(b"x")
    running = LocalProcesses(None, Store(tmp_path / "out"))
    assert not killed.exists()
    assert starting.exists()  # it has no data yet, and may not hold its lock
    code = (
        "import sys\n"
        "from memcom.sweep import Store\n"
        "from memcom.sweep.processes import LocalProcesses\n"
        "LocalProcesses(None, Store(sys.argv[1])).close()\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "out")]
    subprocess.run(words, check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert running.source.exists()
    running.close()
    assert [path.name for path in tmp_path.iterdir()] == [starting.name]


def test_the_command_killed_and_resumed_ends_as_undisturbed(tmp_path):
    few = spec(ratios=(2,), seeds=2, options={"work": 30})
    run(few, tmp_path / "undisturbed", data=load("synthetic"), progress=False)
    out = tmp_path / "killed"
    words = [
        *(sys.executable, "-m", "memcom", "sweep", "--data", "synthetic", "--task", toy.NAME),
        *("--methods", "hash,memcom", "--ratios", "2", "--seeds", "2", "--profile", "fast"),
        *("--set", "work=30", "--jobs", "2", "--out", str(out)),
    ]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            while not list(out.rglob("*.json")) and process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    wanted = contents(tmp_path / "undisturbed")
    assert 0 < len(list(out.rglob("*.json"))) < len(wanted)
    assert subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0
    assert contents(out) == wanted
