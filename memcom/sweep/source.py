"""A data set of a sweep: how it is loaded, and a checksum of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from memcom.data import Interactions, load


@dataclass(frozen=True)
class Source:
    """A data set by name or path, with the options it is read with.

    Attributes:
        name: Argument of `memcom.data.load`: a data set's name, or the path of a file.
        options: Keyword arguments of `memcom.data.load`, and ``ids``: with ``"shuffled"`` the item
            ids are permuted, so that they are not in the order of popularity.
        checksum: SHA-256 of the loaded numbers; empty before loading. See `pinned`.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    checksum: str = ""

    @classmethod
    def of(cls, value: Any) -> Source:
        """Return a source from a name, a path, or a mapping with ``name`` and options."""
        if isinstance(value, Source):
            return value
        if isinstance(value, str | Path):
            return cls(str(value))
        if not isinstance(value, Mapping) or "name" not in value:
            raise ValueError(f"data must be names, or tables with a name, got {value!r}")
        return cls(str(value["name"]), {k: v for k, v in value.items() if k != "name"})

    @property
    def label(self) -> str:
        """Short name: a file's without its folder, and the order of ids if it is not the usual."""
        if self.checksum:
            return self.name
        name = Path(self.name).name
        return f"{name} {self.options['ids']}" if "ids" in self.options else name

    def load(self) -> Any:
        """Load the data.

        Returns:
            A dataclass of arrays, as `memcom.data.load` returns it.

        Raises:
            ValueError: ``ids`` is neither ``"sorted"`` nor ``"shuffled"``, or the data has no items
                to shuffle.
        """
        options = dict(self.options)
        ids = options.pop("ids", "sorted")
        try:
            data = load(self.name, **options)
        except (TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"{self.name} cannot be loaded with {options}: {error!r}") from error
        if ids == "sorted":
            return data
        if ids != "shuffled" or not isinstance(data, Interactions):
            raise ValueError(
                f"ids must be 'sorted', or 'shuffled' for data with users and items; got {ids!r} "
                f"for {self.name}"
            )
        old = np.random.default_rng(0).permutation(data.num_items)  # new id -> old id
        return replace(
            data,
            item=np.argsort(old)[data.item],
            item_names=data.item_names[old],
            item_counts=data.item_counts[old],
            item_keys=None if data.item_keys is None else data.item_keys[old],
        )

    def pinned(self, data: Any) -> Source:
        """Return this source under its short name, with the checksum of its loaded data.

        Args:
            data: Dataclass of arrays. Names of users and items are not part of the checksum.

        Returns:
            The source that is stored with each trial.
        """
        digest = hashlib.sha256()
        for each in fields(data):
            for label, value in _numbers(each.name, getattr(data, each.name)):
                digest.update(label.encode())
                digest.update(value)
        return Source(self.label, dict(self.options), digest.hexdigest())


def _numbers(label: str, value: Any) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _numbers(f"{label}.{key}", value[key])
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield f"{label}:{value.dtype.str}{value.shape}", np.ascontiguousarray(value).tobytes()
    elif isinstance(value, int):
        yield f"{label}:int", str(value).encode()
