"""Finished trials in a folder: one JSON file each, written atomically, named by its key.

    DIR/trials/<data>/<task>/<method>/<budget>-lr<rate>-seed<seed>-<key>.json
    DIR/times/<key>.json            times of the method of this trial, if they were taken
    DIR/.locks/<key>.lock           held by the process that runs this trial now

The key is a hash of everything that decides the outcome: the data's content, how it was read, and
the whole `Setting`. The version of the code is noted and not part of it. Locks are the operating
system's, so they vanish with a killed process, and several processes may share a folder.

Each file ends with a digest of its content. One that was changed, cut short or put under another
name is a `DamagedRecordError`, never a result. Records written before there were digests are read
and counted in the report.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from memcom._files import write_json
from memcom.sweep.source import Source
from memcom.sweep.trial import Record, Trial, finite, sealed, unsealed
from memcom.tasks.protocol import get_task


class DamagedRecordError(ValueError):
    """A file in the folder is not what was written there.

    Args:
        path: The file.
        reason: What is wrong with it.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path} is damaged: {reason}; remove it, or run with --retry-failed")
        self.path, self.reason = path, reason

    def __reduce__(self) -> Any:
        return type(self), (self.path, self.reason)


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
        """Return the record of a trial, None if it has not run, or raise `DamagedRecordError`."""
        if trial.key in self._read:
            return self._read[trial.key]
        path = self.path(trial)
        if not path.exists():
            return None
        record, metric = self._load(path), get_task(trial.task).metric
        if record.outcome is not None and metric not in record.outcome.metrics:
            raise DamagedRecordError(path, f"it has no {metric}")
        self._read[trial.key] = record
        return record

    def records(self) -> list[Record]:
        """Return all records in the folder, in the order of their paths."""
        found = sorted((self.folder / "trials").glob("**/*.json"))
        return [self._load(path) for path in found if not path.name.startswith(".")]

    def former(self, source: Source, task: str) -> Counter[str]:
        """Count the records of other content under a data set's name, by checksum.

        Args:
            source: A data set with its checksum. Those of other options are left out.
            task: Name of the task.

        Returns:
            Checksum -> number of records.
        """
        found: Counter[str] = Counter()
        folder = self.folder.joinpath("trials", _slug(source.name), _slug(task))
        wanted = {"name": source.name, "options": dict(source.options)}
        for path in sorted(folder.glob("*/*.json")):
            with suppress(DamagedRecordError, TypeError, KeyError, AttributeError):
                other = dict(_read_json(path)["data"])
                checksum = str(other.pop("checksum"))
                found[checksum] += other == wanted and checksum != source.checksum
        return +found  # without zeros

    def put(self, record: Record) -> Path:
        """Write a record atomically, in place of an older one of the same trial."""
        path = write_json(self.path(record.trial), record.as_json())
        self._read[record.trial.key] = record
        return path

    def retry(self, trial: Trial) -> None:
        """Remove the record of a trial that failed, or damaged files of it, so that it runs again.

        A record that another process is about to replace stays.
        """
        try:
            self.times(trial)
        except DamagedRecordError as error:
            error.path.unlink(missing_ok=True)
        if not self._is_bad(trial) or (lock := self.lock(trial)) is None:
            return
        try:
            self._read.pop(trial.key, None)
            if self._is_bad(trial):
                self._read.pop(trial.key, None)
                self.path(trial).unlink(missing_ok=True)
        finally:
            lock.release()

    def times(self, trial: Trial) -> dict[str, float]:
        """Return what `put_times` wrote, or nothing; raises `DamagedRecordError`."""
        path = self._times(trial)
        if not path.exists():
            return {}
        content = _read_json(path)
        try:
            if "digest" in content:
                content = unsealed(content)["times"]
            times = {str(name): finite(name, value) for name, value in content.items()}
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise DamagedRecordError(path, f"it holds no times: {error}") from error
        return times

    def put_times(self, trial: Trial, times: Mapping[str, float]) -> Path:
        """Write times of a trial's method by name, as ratios to those of the full table."""
        return write_json(self._times(trial), sealed({"times": dict(times)}))

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

    def _load(self, path: Path) -> Record:
        content = _read_json(path)
        try:
            record = Record.from_json(content)
        except (ValueError, TypeError, RecursionError) as error:
            raise DamagedRecordError(path, error) from error
        if self.path(record.trial) != path:
            raise DamagedRecordError(path, f"it is the record of {self.path(record.trial).name}")
        return record

    def _is_bad(self, trial: Trial) -> bool:
        try:
            record = self.get(trial)
        except DamagedRecordError:
            return True
        return record is not None and record.outcome is None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedRecordError(path, f"it is no JSON, {error}") from error


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", text).strip("_.") or "_"
