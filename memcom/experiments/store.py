"""Finished trials in a folder: one JSON file each, written in one step, named by its content's key.

    DIR/trials/<data>/<task>/<method>/<budget>-lr<rate>-seed<seed>-<key>.json
    DIR/.locks/<key>.lock           held by the process that runs this trial now

The key is a hash of everything that decides the outcome: the data's content and how it was read,
and the whole `Setting`. The code's version is noted and not part of it. Locks are the operating
system's, so they vanish with a process that is killed, and two processes may share a folder.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from memcom.experiments.files import write_json
from memcom.experiments.spec import Source
from memcom.experiments.tasks import Outcome, Setting, Size

FORMAT = 1


@dataclass(frozen=True)
class DataKey:
    """Which data a trial saw.

    Attributes:
        name: Name of the data set, or of the file without its folder.
        options: How it was read: columns, filters.
        checksum: SHA-256 of all numbers of the loaded data.
    """

    name: str
    options: Mapping[str, Any]
    checksum: str

    @classmethod
    def of(cls, source: Source, data: Any) -> DataKey:
        """The key of loaded data.

        Args:
            source: Where it came from.
            data: What `memcom.data.load` gave: a dataclass of arrays.

        Returns:
            The key; names of users and items do not count.
        """
        digest = hashlib.sha256()
        for each in fields(data):
            for label, value in _numbers(each.name, getattr(data, each.name)):
                digest.update(label.encode())
                digest.update(value)
        return cls(source.label, dict(source.options), digest.hexdigest())


def _numbers(label: str, value: Any) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _numbers(f"{label}.{key}", value[key])
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield f"{label}:{value.dtype.str}{value.shape}", np.ascontiguousarray(value).tobytes()
    elif isinstance(value, int):
        yield f"{label}:int", str(value).encode()


@dataclass(frozen=True)
class Job:
    """A setting on a data set: what is run once and kept under one key."""

    data: DataKey
    setting: Setting

    @cached_property
    def key(self) -> str:
        """Hexadecimal hash of the whole configuration, 24 digits."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Record:
    """A finished trial.

    Attributes:
        job: What was run.
        outcome: What came out; None if it failed.
        failed: Reason of the failure in one line; empty if there was none.
        traceback: The failure in full.
        seconds: Wall-clock time.
        about: Versions, commit, machine, time of day: noted, decides nothing.
    """

    job: Job
    outcome: Outcome | None = None
    failed: str = ""
    traceback: str = ""
    seconds: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> str:
        """When the trial ended, to the microsecond."""
        return str(self.about.get("finished"))

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values; arrays are float32, compressed, in base 64."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "key": self.job.key,
            "status": "failed" if self.outcome is None else "finished",
            "data": asdict(self.job.data),
            "setting": asdict(self.job.setting),
        }
        if self.outcome is None:
            content |= {"failed": self.failed, "traceback": self.traceback}
        else:
            outcome = self.outcome
            content["outcome"] = {
                "metrics": dict(outcome.metrics),
                "valid": outcome.valid,
                "nbytes": outcome.size.nbytes,
                "full_nbytes": outcome.size.full_nbytes,
                "output_nbytes": outcome.output_nbytes,
                "best_epoch": outcome.best_epoch,
                "units": {name: _pack(values) for name, values in outcome.units.items()},
            }
        return content | {"seconds": self.seconds, "about": dict(self.about)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """The record of `as_json`.

        Args:
            content: JSON values.

        Returns:
            The record.

        Raises:
            ValueError: It is no record, of another format, or was changed by hand.
        """
        if content.get("format") != FORMAT:
            raise ValueError(f"format {content.get('format')!r} is not {FORMAT}")
        job = Job(DataKey(**content["data"]), Setting(**content["setting"]))
        if job.key != content["key"]:
            raise ValueError(f"its configuration has key {job.key}, it says {content['key']}")
        outcome = None
        if content["status"] == "finished":
            values = content["outcome"]
            outcome = Outcome(
                metrics=values["metrics"],
                valid=values["valid"],
                size=Size(values["nbytes"], values["full_nbytes"]),
                output_nbytes=values["output_nbytes"],
                best_epoch=values["best_epoch"],
                units={name: _unpack(packed) for name, packed in values["units"].items()},
            )
        return cls(
            job,
            outcome,
            content.get("failed", ""),
            content.get("traceback", ""),
            content["seconds"],
            content["about"],
        )


def _pack(values: np.ndarray) -> dict[str, Any]:
    little = np.ascontiguousarray(values, dtype="<f4")
    text = base64.b85encode(zlib.compress(little.tobytes(), 9)).decode("ascii")
    return {"count": len(little), "float32_zlib_base85": text}


def _unpack(packed: Mapping[str, Any]) -> np.ndarray:
    count = int(packed["count"])
    inflate = zlib.decompressobj()
    raw = inflate.decompress(base64.b85decode(packed["float32_zlib_base85"]), 4 * count + 1)
    if len(raw) != 4 * count:
        raise ValueError(f"an array of {count} values does not have {len(raw)} bytes")
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)


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

    def records(self) -> list[Record]:
        """All records in the folder, in the order of their paths."""
        return [self._load(path) for path in sorted((self.folder / "trials").glob("**/*.json"))]

    def lock(self, job: Job) -> Any:
        """A lock on the trial to be released by the caller; None if another process has it."""
        from filelock import FileLock, Timeout

        folder = self.folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{job.key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _load(self, path: Path) -> Record:
        try:
            return Record.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise ValueError(f"{path} is no record of a trial: {error}; remove it") from error


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", text).strip("_.") or "_"
