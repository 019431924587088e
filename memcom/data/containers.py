"""Loaded data sets: three frozen dataclasses of NumPy arrays.

Every id vocabulary is numbered by descending *training* frequency, so id 0 is the most popular
value and ids that never occur in training come last. ``names`` arrays map an id to its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

TRAIN, VALID, TEST = 0, 1, 2
SPLITS = {"train": TRAIN, "valid": VALID, "test": TEST}


def split_code(split: int | str) -> int:
    """Return TRAIN (0), VALID (1) or TEST (2) for a split given by code or by name."""
    code = SPLITS.get(split) if isinstance(split, str) else split
    if code not in (TRAIN, VALID, TEST):
        raise ValueError(f"split is {split!r}; it must be one of 0, 1, 2 or {', '.join(SPLITS)}")
    return int(code)


def _check_rows(name: str, arrays: Mapping[str, np.ndarray | None], rows: int) -> None:
    for column, values in arrays.items():
        if values is not None and len(values) != rows:
            raise ValueError(f"{name}: {column} has {len(values)} rows, expected {rows}")


def _check_ids(name: str, column: str, ids: np.ndarray, size: int) -> None:
    if ids.dtype != np.int64:
        raise ValueError(f"{name}: {column} has dtype {ids.dtype}, expected int64")
    if len(ids) and (ids.min() < 0 or ids.max() >= size):
        bad = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"{name}: {column} holds id {bad}; valid ids are 0 to {size - 1}")


def _check_split(name: str, split: np.ndarray) -> None:
    if split.dtype != np.int8 or (len(split) and not 0 <= split.min() <= split.max() <= TEST):
        raise ValueError(f"{name}: split must be int8 with values 0 (train), 1 (valid), 2 (test)")


@dataclass(frozen=True, repr=False)
class Interactions:
    """Pairs of a user and an item, one row for each pair, no pair twice.

    Attributes:
        name: Name of the set.
        num_users: Number of user ids.
        num_items: Number of item ids, those never seen in training included.
        user: (n,) int64, ids sorted by descending training frequency.
        item: (n,) int64, ids sorted by descending training frequency.
        time: (n,) int64 seconds since 1970, or None where the source has no times.
        rating: (n,) float32 in the source's unit, or None.
        split: (n,) int8, 0 train, 1 validation, 2 test.
        item_names: (num_items,) name of each item in the source.
        user_names: (num_users,) name of each user in the source.
        item_counts: (num_items,) int64 training rows per item, never increasing.
        item_keys: (num_items,) id of the item in the source; names may repeat, keys do not.
        notes: Rows that were dropped, and the way the split was made.
    """

    name: str
    num_users: int
    num_items: int
    user: np.ndarray
    item: np.ndarray
    time: np.ndarray | None
    rating: np.ndarray | None
    split: np.ndarray
    item_names: np.ndarray
    user_names: np.ndarray
    item_counts: np.ndarray
    item_keys: np.ndarray | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        columns = {"item": self.item, "time": self.time, "rating": self.rating, "split": self.split}
        _check_rows(self.name, columns, len(self.user))
        _check_ids(self.name, "user", self.user, self.num_users)
        _check_ids(self.name, "item", self.item, self.num_items)
        _check_split(self.name, self.split)
        for column, size in (("item_names", self.num_items), ("item_counts", self.num_items)):
            _check_rows(self.name, {column: getattr(self, column)}, size)
        _check_rows(self.name, {"user_names": self.user_names}, self.num_users)

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        rows = np.bincount(self.split, minlength=3)
        return (
            f"Interactions({self.name!r}: {len(self):,} rows, {self.num_users:,} users, "
            f"{self.num_items:,} items; train {rows[0]:,}, valid {rows[1]:,}, test {rows[2]:,})"
        )

    def history(self, split: int | str = TRAIN) -> tuple[np.ndarray, np.ndarray]:
        """Return the items of every user in one split, as compressed rows.

        User u's items are ``items[offsets[u]:offsets[u + 1]]``, oldest first where there are
        times, else in the order of the rows.

        Args:
            split: 0, 1, 2 or "train", "valid", "test".

        Returns:
            offsets: (num_users + 1,) int64.
            items: (rows in the split,) int64.
        """
        rows = np.flatnonzero(self.split == split_code(split))
        if self.time is not None:
            rows = rows[np.argsort(self.time[rows], kind="stable")]
        users = self.user[rows]
        offsets = np.zeros(self.num_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(users, minlength=self.num_users), out=offsets[1:])
        return offsets, self.item[rows[np.argsort(users, kind="stable")]]


@dataclass(frozen=True, repr=False)
class LabelledRows:
    """Rows of categorical fields with a class label (the click-through shape).

    Attributes:
        name: Name of the set.
        fields: Field name -> (n,) int64, ids sorted by descending training frequency.
        cardinalities: Field name -> number of ids.
        names: Field name -> (cardinality,) name of each id in the source.
        dense: (n, d) float32 numeric columns, or None.
        label: (n,) int64 in 0..num_classes-1.
        num_classes: Number of classes.
        split: (n,) int8, 0 train, 1 validation, 2 test.
        weight: (n,) float32, how many observations the row stands for, or None for one each.
        counts: Field name -> (cardinality,) int64 training frequency, never increasing.
        label_names: (num_classes,) names of the classes.
        dense_names: Names of the dense columns.
        notes: Rows that were dropped, and the way the split was made.
    """

    name: str
    fields: dict[str, np.ndarray]
    cardinalities: dict[str, int]
    names: dict[str, np.ndarray]
    dense: np.ndarray | None
    label: np.ndarray
    num_classes: int
    split: np.ndarray
    weight: np.ndarray | None = None
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    dense_names: tuple[str, ...] = ()
    notes: str = ""

    def __post_init__(self) -> None:
        rows = len(self.label)
        _check_rows(self.name, {"dense": self.dense, "split": self.split}, rows)
        _check_rows(self.name, {"weight": self.weight, **self.fields}, rows)
        _check_ids(self.name, "label", self.label, self.num_classes)
        _check_split(self.name, self.split)
        for column, ids in self.fields.items():
            size = self.cardinalities[column]
            _check_ids(self.name, column, ids, size)
            _check_rows(self.name, {f"names[{column!r}]": self.names[column]}, size)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{column} {size:,}" for column, size in self.cardinalities.items())
        rows = np.bincount(self.split, minlength=3)
        return (
            f"LabelledRows({self.name!r}: {len(self):,} rows, {self.num_classes} classes; "
            f"train {rows[0]:,}, valid {rows[1]:,}, test {rows[2]:,}; {sizes})"
        )


@dataclass(frozen=True, repr=False)
class LabelledBags:
    """Texts as bags of token ids with a class label, in torch's EmbeddingBag layout.

    Text r's tokens are ``tokens[offsets[r]:offsets[r + 1]]``, in reading order.

    Attributes:
        name: Name of the set.
        tokens: (total,) int64, ids sorted by descending training frequency.
        offsets: (n + 1,) int64.
        num_tokens: Size of the vocabulary.
        label: (n,) int64 in 0..num_classes-1.
        num_classes: Number of classes.
        label_names: (num_classes,) names of the classes.
        token_names: (num_tokens,) the tokens themselves.
        split: (n,) int8, 0 train, 1 validation, 2 test.
        token_counts: (num_tokens,) int64 occurrences in training texts, never increasing.
        notes: Unit of the tokens, and the way the split was made.
    """

    name: str
    tokens: np.ndarray
    offsets: np.ndarray
    num_tokens: int
    label: np.ndarray
    num_classes: int
    label_names: tuple[str, ...]
    token_names: np.ndarray
    split: np.ndarray
    token_counts: np.ndarray
    notes: str = ""

    def __post_init__(self) -> None:
        rows = len(self.label)
        _check_rows(self.name, {"split": self.split, "offsets": self.offsets[1:]}, rows)
        vocabulary = {"token_names": self.token_names, "token_counts": self.token_counts}
        _check_rows(self.name, vocabulary, self.num_tokens)
        _check_ids(self.name, "tokens", self.tokens, self.num_tokens)
        _check_ids(self.name, "label", self.label, self.num_classes)
        _check_split(self.name, self.split)
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.tokens):
            raise ValueError(f"{self.name}: offsets must run from 0 to {len(self.tokens)}")

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        rows = np.bincount(self.split, minlength=3)
        return (
            f"LabelledBags({self.name!r}: {len(self):,} texts, {len(self.tokens):,} tokens, "
            f"{self.num_tokens:,} distinct, {self.num_classes} classes; "
            f"train {rows[0]:,}, valid {rows[1]:,}, test {rows[2]:,})"
        )
