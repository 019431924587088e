"""Finished trials in a folder: one JSON file each, written atomically, named by its key.

    DIR/trials/<data>/<task>/<method>/<budget>-lr<rate>-seed<seed>-<key>.json
    DIR/times/<key>.json            times of the method of this trial, if they were taken
    DIR/.locks/<key>.lock           held by the process that runs this trial now

The key is a hash of everything that decides the outcome: the data's content, how it was read, and
the whole `Setting`. The version of the code is noted and not part of it. Locks are the operating
system's, so they vanish with a killed process, and several processes may share a folder.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memcom._files import write_json
from memcom.sweep.trial import Record, Trial


class Store:
    """The trials in a folder. Files are read once.

    Args:
        folder: Created when something is written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._read: dict[str, Record] = {}

    def path(self, trial: Trial) -> Path:
        """Return the path of a trial's record, written or not."""
        budget = "once"
        if trial.ratio is not None:
            budget = f"{trial.ratio:g}x"
        elif trial.nbytes is not None:
            budget = f"{trial.nbytes}B"
        rate = "" if trial.learning_rate is None else f"-lr{trial.learning_rate:g}"
        name = f"{budget}{rate}-seed{trial.seed}-{trial.key}.json"
        parts = map(_slug, (trial.source.name, trial.task, trial.method))
        return self.folder.joinpath("trials", *parts, name)

    def get(self, trial: Trial) -> Record | None:
        """Return the record of a trial, None if it has not run; ValueError names a damaged file."""
        if trial.key in self._read:
            return self._read[trial.key]
        path = self.path(trial)
        if not path.exists():
            return None
        self._read[trial.key] = _load(path)
        return self._read[trial.key]

    def records(self) -> list[Record]:
        """Return all records in the folder, in the order of their paths."""
        found = sorted((self.folder / "trials").glob("**/*.json"))
        return [_load(path) for path in found if not path.name.startswith(".")]

    def put(self, record: Record) -> Path:
        """Write a record atomically, in place of an older one of the same trial."""
        path = write_json(self.path(record.trial), record.as_json())
        self._read[record.trial.key] = record
        return path

    def remove(self, trial: Trial) -> None:
        """Remove the record of a trial, so that it runs again."""
        self._read.pop(trial.key, None)
        self.path(trial).unlink(missing_ok=True)

    def times(self, trial: Trial) -> dict[str, float]:
        """Return what `put_times` wrote, or nothing; ValueError names a damaged file."""
        path = self._times(trial)
        if not path.exists():
            return {}
        try:
            return {str(k): float(v) for k, v in json.loads(path.read_text("utf-8")).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no times: {error}; remove it") from error

    def put_times(self, trial: Trial, times: Mapping[str, float]) -> Path:
        """Write times of a trial's method by name, as ratios to those of the full table."""
        return write_json(self._times(trial), times)

    def lock(self, trial: Trial) -> Any:
        """Return a lock on a trial, to be released by the caller; None if another process holds it.

        Partly written files that a killed process left of the trial are removed.
        """
        from filelock import FileLock, Timeout

        folder = self.folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{trial.key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        path = self.path(trial)
        for partial in path.parent.glob(f".{path.name}.*"):
            partial.unlink(missing_ok=True)
        return lock

    def _times(self, trial: Trial) -> Path:
        return self.folder / "times" / f"{trial.key}.json"


def _load(path: Path) -> Record:
    try:
        return Record.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise ValueError(f"{path} is no record of a trial: {error}; remove it") from error


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", text).strip("_.") or "_"
