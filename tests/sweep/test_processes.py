"""Worker processes: none outlives its sweep, and a command that is killed loses nothing."""

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
from memcom.sweep.planning import tables
from memcom.sweep.running import sweep
from tests.sweep import toy
from tests.sweep.test_sweep import contents, spec

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _toys_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def data():
    return load("synthetic")


@pytest.mark.slow
def test_a_killed_worker_takes_no_other_trial_along(data):
    from memcom.sweep.processes import LocalProcesses

    (table,) = tables(spec(options={"work": 200}), data)
    jobs = [table.job(line.cell.setting) for line in table.lines[-3:]]
    workers = LocalProcesses(data, 2)
    try:
        killed, other = (workers.submit(job) for job in jobs[:2])
        with pytest.raises(RuntimeError, match="all 2 workers have a trial"):
            workers.submit(jobs[2])
        (pid,) = workers.workers[0].pool._processes
        os.kill(pid, signal.SIGKILL)
        assert type(killed.exception(60)).__name__ == "TerminatedWorkerError"
        assert other.result(60).job == jobs[1]
        assert workers.submit(jobs[2]).result(60).job == jobs[2]
        # as when it was started first
        assert workers.workers[0].pool.submit(os.getenv, "MALLOC_MMAP_MAX_").result(60) == "0"
    finally:
        workers.close()


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them():
    code = (
        "import sys\n"
        "from memcom.sweep.processes import LocalProcesses, _Worker\n"
        "owner = LocalProcesses(None)\n"
        "worker = _Worker(owner.source, 'cpu')\n"
        "worker.ready.result()\n"
        "print(*worker.pool._processes, flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        worker = psutil.Process(int(process.stdout.readline()))
        process.kill()
        worker.wait(30)  # raises TimeoutExpired where it stays


@pytest.mark.slow
def test_the_command_killed_and_resumed_ends_as_undisturbed(tmp_path, data):
    few = spec(ratios=(2,), seeds=2, options={"work": 30})
    sweep(few, tmp_path / "undisturbed", data=data, progress=False)
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
    there = contents(out)
    wanted = contents(tmp_path / "undisturbed")
    assert 0 < len(there) < len(wanted)
    assert subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0
    assert contents(out) == wanted
