"""Sweeps to disturb, each in a folder by itself, and the comparison with an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memcom._files import write_text
from memcom.sweep import DamagedRecordError, Spec, Store, run

ROOT = Path(__file__).resolve().parents[2]
TOML = """task = "benchmarks.faults.task:TASK"
data = [{{ name = "synthetic", num_users = 40, num_items = 100 }}]
methods = ["hash", "memcom"]
ratios = {ratios}
seeds = 3
[options]
units = {units}
"""


@dataclass
class Found:
    """Counts of one program; every count but the first three should be 0.

    Attributes:
        program: Name of the program.
        disturbed: Kills, signals, writes that failed, or jumps of the clock.
        trials: Trials of the sweep.
        lost: Trials without a record at the end.
        doubled: Files beside those of the trials, and trials run more often than the disturbances
            explain.
        damaged: Files that cannot be read, and partly written ones.
        differing: Trials whose outcome differs from that of the undisturbed sweep; failed ones too.
        outside: Files written outside the folder of the sweep, or left in the temporary one.
        notes: Words about what happened.
    """

    program: str
    disturbed: int = 0
    trials: int = 0
    lost: int = 0
    doubled: int = 0
    damaged: int = 0
    differing: int = 0
    outside: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """Everything that is wrong."""
        return self.lost + self.doubled + self.damaged + self.differing + self.outside


class Box:
    """A folder with a specification, an empty temporary folder, and the sweep's folder ``out``."""

    def __init__(self, folder: Path, *, seconds: float, units: int, ratios: list[int]) -> None:
        self.folder, self.out = folder, folder / "out"
        self.log, self.said = folder / "log", folder / "stderr"
        text = TOML.format(units=units, ratios=ratios)
        self.seconds = seconds
        self.toml = write_text(folder / "sweep.toml", text)
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.log.touch()
        run(Spec.read(self.toml), folder / "undisturbed", progress=False)
        self.wanted = outcomes(folder / "undisturbed")
        self.before = self.listing()

    @contextmanager
    def command(
        self,
        engine: str = "processes",
        *,
        jobs: int = 2,
        prepare: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start ``memcom sweep``, in a session of its own; it is killed at the end of the block."""
        words = [sys.executable, "-m", "memcom", "sweep", str(self.toml), "--out", str(self.out)]
        settings = {
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.temporary),
            "FAULTS_LOG": str(self.log),
            "FAULTS_SLEEP": str(self.seconds),
            **(environment or {}),
        }
        paths = (settings.get("PYTHONPATH", ""), str(ROOT), os.environ.get("PYTHONPATH", ""))
        settings["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        with (
            open(self.said, "w") as said,  # a pipe would block the command once it is full
            subprocess.Popen(
                [*words, "--engine", engine, "--jobs", str(jobs)],
                env={**os.environ, **settings},
                cwd=self.temporary,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                preexec_fn=prepare,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def running(self) -> dict[str, int]:
        """Return trial -> process of the trials that have started and not ended."""
        found: dict[str, int] = {}
        for what, digest, process in map(str.split, self.log.read_text().splitlines()):
            if what == "start":
                found[digest] = int(process)
            else:
                found.pop(digest, None)
        return {digest: process for digest, process in found.items() if is_alive(process)}

    def runs(self) -> Counter[str]:
        """Count the starts of each trial."""
        lines = map(str.split, self.log.read_text().splitlines())
        return Counter(digest for what, digest, _ in lines if what == "start")

    def finish(self, engine: str = "local", environment: Mapping[str, str] | None = None) -> None:
        """Let the sweep end, as it has to."""
        with self.command(engine, environment=environment) as process:
            process.wait(600)
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {self.said.read_text()[-2000:]}")

    def found(self, program: str, disturbed: int, more: int | None = None, **notes: Any) -> Found:
        """Compare the folder with the undisturbed one; ``more`` trials may have run repeatedly."""
        damaged = len([p for p in (self.out / "trials").rglob(".*") if p.is_file()])
        try:
            got = outcomes(self.out)
        except DamagedRecordError as error:
            got, damaged, notes = {}, damaged + 1, {**notes, "damaged": error}
        again = self.runs().total() - len(self.runs())
        return Found(
            program,
            disturbed,
            len(self.wanted),
            lost=len(self.wanted.keys() - got.keys()),
            doubled=len(got.keys() - self.wanted.keys())
            + max(0, again - (disturbed if more is None else more)),
            damaged=damaged,
            differing=sum(got[key] != self.wanted[key] for key in got.keys() & self.wanted.keys()),
            outside=len(self.listing() - self.before),
            notes=[f"{name} {value}" for name, value in {**notes, "repeated": again}.items()],
        )

    def listing(self) -> set[Path]:
        """Return the files beside the sweep's folder."""
        apart = (self.out, self.log, self.said)
        return {
            path
            for path in self.folder.rglob("*")
            if not any(path.is_relative_to(each) for each in apart)
            and not path.is_relative_to(self.temporary / "ray")  # Ray keeps its logs
        }


@contextmanager
def box(
    *, seconds: float = 0.2, units: int = 200, ratios: tuple[int, ...] = (2, 4)
) -> Iterator[Box]:
    """Make a `Box` in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="memcom-faults-") as folder:
        yield Box(Path(folder), seconds=seconds, units=units, ratios=list(ratios))


def outcomes(folder: Path) -> dict[str, str]:
    """Return what each file of a trial says, but for times and the machine, by its path."""
    store = Store(folder)
    found = {}
    for record in store.records():
        content = record.as_json()
        for name in ("seconds", "about", "digest"):
            del content[name]
        found[str(store.path(record.trial).relative_to(folder))] = json.dumps(content)
    return found


def stored(folder: Path) -> int:
    """Count the files of trials."""
    return sum(not path.name.startswith(".") for path in folder.glob("trials/**/*.json"))


def is_alive(process: int) -> bool:
    """Return True if a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_until(condition: Callable[[], Any], seconds: float = 300.0) -> Any:
    """Return the first true value of a condition; RuntimeError after so many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise RuntimeError(f"nothing happened in {seconds:g} s")
        time.sleep(0.01)
    return value
