"""One finished trial: what was run, what came out, and the key that names it."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from memcom.sweep.spec import Source
from memcom.tasks.protocol import Outcome, Setting, Size

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
