"""One trial: its configuration and key, how it is run, and the record that is stored of it."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from memcom.sweep.provenance import provenance, traceback_in_package
from memcom.sweep.source import Source
from memcom.tasks.protocol import Outcome, Setting, Size, get_task

FORMAT = 1


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
    """

    trial: Trial
    outcome: Outcome | None = None
    failed: str = ""
    traceback: str = ""
    seconds: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON values; arrays are float32, compressed, in base 85."""
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
        """Return the record of `as_json`; ValueError if the configuration does not fit its key."""
        if content.get("format") != FORMAT:
            raise ValueError(f"format {content.get('format')!r} is not {FORMAT}")
        trial = Trial(**content["setting"], source=Source(**content["data"]))
        if trial.key != content["key"]:
            raise ValueError(f"its configuration has key {trial.key}, it says {content['key']}")
        outcome = None
        if content["status"] == "finished":
            values = dict(content["outcome"])
            values["size"] = Size(values.pop("nbytes"), values.pop("full_nbytes"))
            values["units"] = {name: _unpack(packed) for name, packed in values["units"].items()}
            outcome = Outcome(**values)
        reason, trace = content.get("failed", ""), content.get("traceback", "")
        return cls(trial, outcome, reason, trace, content["seconds"], content["about"])


def run_trial(trial: Trial, data: Any, device: str = "cpu") -> Record:
    """Run one trial with one CPU thread; an exception becomes a failed record."""
    start, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    outcome, failed, trace = None, "", ""
    try:
        outcome = get_task(trial.task).run(trial, data, device)
        bad = [name for name, value in outcome.metrics.items() if not np.isfinite(value)]
        if bad or not np.isfinite(outcome.valid):
            raise ArithmeticError(f"{', '.join(bad) or 'the validation metric'} is no number")
    except Exception as error:
        outcome, trace = None, traceback_in_package()
        failed = f"{type(error).__name__}: {error}".splitlines()[0]
    finally:
        torch.set_num_threads(threads)
    return Record(trial, outcome, failed, trace, time.perf_counter() - start, provenance(device))


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
