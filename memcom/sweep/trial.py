"""One trial: its configuration and key, how it is run, and the record that is stored of it."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from memcom.sweep.provenance import provenance, traceback_in_package
from memcom.sweep.source import Source
from memcom.tasks.protocol import Outcome, Setting, Size, get_task

FORMAT = 2
UNSEALED = 1  # the format before records had a digest; it is still read


class UndeliveredError(RuntimeError):
    """A trial could not be sent to a worker, or its record not be read back.

    The trial itself did not fail.
    """


@dataclass(frozen=True)
class Trial(Setting):
    """A setting on a data set; it is run once and stored under one key.

    Attributes:
        source: The data, with its checksum.
    """

    source: Source = field(kw_only=True)

    def as_json(self) -> dict[str, Any]:
        """Return the whole configuration as JSON values: ``data`` and ``setting``."""
        setting = asdict(self)
        return {"data": setting.pop("source"), "setting": setting}

    @cached_property
    def key(self) -> str:
        """Hash of the whole configuration, 24 hexadecimal digits."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True)
class Record:
    """A finished trial.

    Attributes:
        trial: The configuration.
        outcome: The measurements; None if the trial failed.
        failed: Reason of the failure in one line; empty if there was none.
        traceback: Traceback of the failure.
        seconds: Wall-clock time.
        about: Versions, commit, machine and time of day. They are noted and decide nothing.
        sealed: False if it was read from a file of an older format, which has no digest of its
            content: a number changed in that file cannot be noticed.
    """

    trial: Trial
    outcome: Outcome | None = None
    failed: str = ""
    traceback: str = ""
    seconds: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)
    sealed: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with a digest of them all.

        Arrays are float32, compressed, in base 85.
        """
        status = "failed" if self.outcome is None else "finished"
        content = {
            "format": FORMAT,
            "key": self.trial.key,
            "status": status,
            **self.trial.as_json(),
        }
        if self.outcome is None:
            content |= {"failed": self.failed, "traceback": self.traceback}
        else:
            content["outcome"] = _plain(self.outcome)
        return sealed(content | {"seconds": self.seconds, "about": dict(self.about)})

    @classmethod
    def from_json(cls, content: Any) -> Record:
        """Return the record of `as_json`; ValueError says what is wrong with the content."""
        version = content.get("format") if isinstance(content, dict) else None
        if version != UNSEALED or "digest" in content:
            content = unsealed(content)
            if version != FORMAT:
                raise ValueError(f"its format is {version!r}, not {FORMAT}")
        setting, source = _part(content, "setting", dict), _part(content, "data", dict)
        trial = Trial(**setting, source=Source(**source))
        if trial.key != content.get("key"):
            raise ValueError(f"its setting has key {trial.key}, it says {content.get('key')!r}")
        outcome, failed, trace = None, "", ""
        if content.get("status") == "finished":
            outcome = _outcome(_part(content, "outcome", dict))
        elif content.get("status") == "failed":
            failed, trace = _part(content, "failed", str), _part(content, "traceback", str)
        else:
            raise ValueError(f"its status is {content.get('status')!r}, not finished or failed")
        seconds = finite("seconds", content.get("seconds"))
        about = _part(content, "about", dict)
        return cls(trial, outcome, failed, trace, seconds, about, version == FORMAT)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values with a digest of them."""
    return {**content, "digest": _digest(content)}


def unsealed(content: Any) -> dict[str, Any]:
    """Return what `sealed` got; ValueError if it is not whole."""
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not an object with fields")
    found = {name: value for name, value in content.items() if name != "digest"}
    if content.get("digest") != _digest(found):
        raise ValueError(
            f"its content has digest {_digest(found)[:12]}, it says "
            f"{str(content.get('digest'))[:12]}: it was changed after it was written"
        )
    return found


def checked(outcome: Outcome) -> Outcome:
    """Return an outcome with plain numbers; ValueError names what is none, or not finite."""
    if not isinstance(outcome.metrics, Mapping) or not outcome.metrics:
        raise ValueError(f"its metrics are {outcome.metrics!r}, not numbers by name")
    size = outcome.size
    return Outcome(
        {str(name): finite(name, value) for name, value in outcome.metrics.items()},
        finite("the validation metric", outcome.valid),
        Size(_count("nbytes", size.nbytes), _count("full_nbytes", size.full_nbytes)),
        _count("output_nbytes", outcome.output_nbytes),
        _count("best_epoch", outcome.best_epoch),
        outcome.units,
        {str(name): checked(each) for name, each in outcome.derived.items()},
    )


def finite(name: str, value: Any) -> float:
    """Return a number as float; ValueError names it if it is none, or not finite."""
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
    except OverflowError:
        number = None
    if number is None or not math.isfinite(number):
        raise ValueError(f"{name} is no finite number, it is {value!r:.40}")
    return number


def run_trial(trial: Trial, data: Any, device: str = "cpu") -> Record:
    """Run one trial with one CPU thread; an exception becomes a failed record."""
    start, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    outcome, failed, trace = None, "", ""
    try:
        task = get_task(trial.task)
        outcome = checked(task.run(trial, data, device))
        if task.metric not in outcome.metrics:
            raise ValueError(
                f"{task.name} gave no {task.metric}, only {', '.join(outcome.metrics)}"
            )
    except Exception as error:
        outcome, trace = None, traceback_in_package()
        failed = f"{type(error).__name__}: {error}".splitlines()[0]
    finally:
        torch.set_num_threads(threads)
    return Record(trial, outcome, failed, trace, time.perf_counter() - start, provenance(device))


def _plain(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON values; those derived from it only where there are any."""
    values = {
        "metrics": dict(outcome.metrics),
        "valid": outcome.valid,
        "nbytes": outcome.size.nbytes,
        "full_nbytes": outcome.size.full_nbytes,
        "output_nbytes": outcome.output_nbytes,
        "best_epoch": outcome.best_epoch,
        "units": {name: _pack(array) for name, array in outcome.units.items()},
    }
    if outcome.derived:
        values["derived"] = {name: _plain(each) for name, each in outcome.derived.items()}
    return values


def _outcome(content: Mapping[str, Any]) -> Outcome:
    """The outcome of `_plain`; ValueError says what is wrong with it."""
    values = dict(content)
    values["size"] = Size(values.pop("nbytes", None), values.pop("full_nbytes", None))
    packed = _part(values, "units", dict)
    values["units"] = {name: _unpack(array) for name, array in packed.items()}
    derived = _part({"derived": {}} | values, "derived", dict)
    values["derived"] = {name: _outcome(_part(derived, name, dict)) for name in derived}
    return checked(Outcome(**values))


def _pack(values: np.ndarray) -> dict[str, Any]:
    little = np.ascontiguousarray(values, dtype="<f4")
    text = base64.b85encode(zlib.compress(little.tobytes(), 9)).decode("ascii")
    return {"count": len(little), "float32_zlib_base85": text}


def _unpack(packed: Any) -> np.ndarray:
    if not isinstance(packed, dict):
        raise ValueError(f"an array is {type(packed).__name__}, not packed values")
    count = _count("count", packed.get("count"))
    text = _part(packed, "float32_zlib_base85", str)
    try:
        raw = zlib.decompressobj().decompress(base64.b85decode(text), 4 * count + 1)
    except zlib.error as error:
        raise ValueError(f"an array cannot be unpacked: {error}") from error
    if len(raw) != 4 * count:
        raise ValueError(f"an array of {count} values does not have {len(raw)} bytes")
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _part(content: Mapping[str, Any], name: str, kind: type) -> Any:
    """A field of JSON content, which has to be of a kind."""
    if not isinstance(content.get(name), kind):
        raise ValueError(f"its field {name!r} is {content.get(name)!r:.40}, not {kind.__name__}")
    return content[name]


def _count(name: str, value: Any) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is no number of things, it is {value!r:.40}")
    return int(value)
