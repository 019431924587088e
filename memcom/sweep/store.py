"""Finished trials in a folder: one JSON file each, written in one step, named by its content's key.

    DIR/trials/<data>/<task>/<method>/<budget>-lr<rate>-seed<seed>-<key>.json
    DIR/times/<key>.json            what the method of this trial costs in time, if that was asked
    DIR/.locks/<key>.lock           held by the process that runs this trial now

The key is a hash of everything that decides the outcome: the data's content and how it was read,
and the whole `Setting`. The code's version is noted and not part of it. Locks are the operating
system's, so they vanish with a process that is killed, and two processes may share a folder.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memcom._files import write_json
from memcom.sweep.records import Job, Record


class Store:
    """The trials in a folder.

    Args:
        folder: Created when something is written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._read: dict[str, Record] = {}
        self._forgotten: dict[str, str] = {}

    def path(self, job: Job) -> Path:
        """Where the record of a trial is, or would be."""
        setting = job.setting
        budget = "once"
        if setting.ratio is not None:
            budget = f"{setting.ratio:g}x"
        elif setting.nbytes is not None:
            budget = f"{setting.nbytes}B"
        rate = "" if setting.learning_rate is None else f"-lr{setting.learning_rate:g}"
        name = f"{budget}{rate}-seed{setting.seed}-{job.key}.json"
        parts = map(_slug, (job.data.name, setting.task, setting.method))
        return self.folder.joinpath("trials", *parts, name)

    def get(self, job: Job) -> Record | None:
        """The record of a trial, or None if it has not been run.

        Args:
            job: The trial.

        Returns:
            The record; files are read once.

        Raises:
            ValueError: The file is damaged; it is named.
        """
        if job.key in self._read:
            return self._read[job.key]
        path = self.path(job)
        if not path.exists():
            return None
        record = self._load(path)
        if self._forgotten.get(job.key) == record.finished:
            return None
        self._read[job.key] = record
        return record

    def forget(self, job: Job) -> None:
        """Behave as if the record of a trial were not there, until another takes its place."""
        record = self.get(job)
        if record is not None:
            self._forgotten[job.key] = record.finished
            del self._read[job.key]

    def put(self, record: Record) -> Path:
        """Write a record, in one step; an older one of the same trial is replaced."""
        path = write_json(self.path(record.job), record.as_json())
        self._read[record.job.key] = record
        return path

    def times(self, job: Job) -> dict[str, float]:
        """What was kept by `put_times`; empty if nothing was, ValueError if it is damaged."""
        path = self._times(job)
        if not path.exists():
            return {}
        try:
            return {str(k): float(v) for k, v in json.loads(path.read_text("utf-8")).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no times: {error}; remove it") from error

    def put_times(self, job: Job, times: Mapping[str, float]) -> Path:
        """Keep what the method of a trial costs in time, by name, as ratios to the full table."""
        return write_json(self._times(job), times)

    def _times(self, job: Job) -> Path:
        return self.folder / "times" / f"{job.key}.json"

    def records(self) -> list[Record]:
        """All records in the folder, in the order of their paths."""
        return [self._load(path) for path in sorted((self.folder / "trials").glob("**/*.json"))]

    def lock(self, job: Job) -> Any:
        """A lock on the trial, so that no other process runs it.

        Args:
            job: The trial.

        Returns:
            The lock, to be released by the caller; None if another process has it. What a process
            that was killed has left half-written is removed.
        """
        from filelock import FileLock, Timeout

        folder = self.folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{job.key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        path = self.path(job)
        for half_written in path.parent.glob(f".{path.name}.*"):  # by a process that was killed
            half_written.unlink()
        return lock

    def _load(self, path: Path) -> Record:
        try:
            return Record.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise ValueError(f"{path} is no record of a trial: {error}; remove it") from error


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", text).strip("_.") or "_"
