"""Assemble `Interactions` and `LabelledRows` from raw columns, by the same rules for every set.

1. A pair (user, item) is kept once: its earliest row where there are times, its first split
   (train before validation before test) where the split is published, else its first row. So no
   test item is also in the user's history.
2. The split: published where there is one; else per user by time (the last 20 % of the user's
   rows are test, the 10 % before them validation, at least one each where the user has 5 rows
   or more; a user with fewer trains only); else per user at random with a fixed seed, in the
   same shares.
3. Users and items are numbered by descending number of training rows, ties in the order of the
   source's ids; ids that never occur in training come last.
"""

from __future__ import annotations

import numpy as np

from memcom.data.containers import TRAIN, Interactions, LabelledRows
from memcom.data.ordering import by_frequency, encode, hash_key, split_per_user


def interactions(
    name: str,
    user: np.ndarray,
    item: np.ndarray,
    *,
    time: np.ndarray | None = None,
    rating: np.ndarray | None = None,
    published: np.ndarray | None = None,
    item_name: dict | None = None,
    split: str | None = None,
    seed: int = 0,
    min_rating: float | None = None,
) -> Interactions:
    """Build an `Interactions` from raw columns.

    Args:
        name: Name of the set.
        user: (n,) source ids of the users, integers or strings.
        item: (n,) source ids of the items, integers or strings.
        time: (n,) int64 seconds, or None.
        rating: (n,) numbers, or None.
        published: (n,) int8 split that comes with the data, or None.
        item_name: Source id -> name; an id that is not in it is called by its id.
        split: "published", "time" or "random"; None takes the first of these that is possible.
        seed: Seed of the random split.
        min_rating: Drop rows rated lower.

    Returns:
        Rows sorted by user id, then time (or as they came), ids by descending frequency.

    Raises:
        ValueError: If the split is impossible, or no row is left.
    """
    notes = []
    keep = np.arange(len(user))
    if min_rating is not None:
        if rating is None:
            raise ValueError(f"{name} has no ratings, so min_rating={min_rating} cannot be applied")
        keep = np.flatnonzero(rating >= min_rating)
        notes.append(f"{len(user) - len(keep):,} rows rated below {min_rating:g} dropped.")
    if not len(keep):
        raise ValueError(f"{name}: no row is left (of {len(user):,})")
    mode = _split_mode(name, split, published, time)

    users, user_keys = encode(user[keep])
    items, item_keys = encode(item[keep])
    age = _take(published if mode == "published" else time, keep)
    first = _first_of_each_pair(users, items, len(item_keys), age)
    if len(first) < len(keep):
        notes.append(f"{len(keep) - len(first):,} repeated (user, item) rows dropped.")
    keep, users, items = keep[first], users[first], items[first]
    time, rating, published = _take(time, keep), _take(rating, keep), _take(published, keep)

    if mode == "published":
        parts = np.asarray(published, dtype=np.int8)
    else:
        key = time if mode == "time" else hash_key(users, items, seed)
        parts = split_per_user(users, np.asarray(key), items)
    notes.append(f"Split: {mode}" + (f", seed {seed}." if mode == "random" else "."))

    train = parts == TRAIN
    u = by_frequency(users, len(user_keys), train)
    i = by_frequency(items, len(item_keys), train)
    order = np.argsort(u.ids, kind="stable") if time is None else np.lexsort((items, time, u.ids))
    keys = item_keys[i.order]
    return Interactions(
        name=name,
        num_users=len(user_keys),
        num_items=len(item_keys),
        user=u.ids[order],
        item=i.ids[order],
        time=None if time is None else time[order].astype(np.int64),
        rating=None if rating is None else rating[order].astype(np.float32),
        split=parts[order],
        item_names=_names(keys, item_name or {}),
        user_names=user_keys[u.order].astype(str).astype(object),
        item_counts=i.counts,
        item_keys=keys,
        notes=" ".join(notes),
    )


def _take(column: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if column is None else column[rows]


def _names(keys: np.ndarray, item_name: dict) -> np.ndarray:
    return np.array([item_name.get(key, str(key)) for key in keys.tolist()], dtype=object)


def _split_mode(
    name: str, split: str | None, published: np.ndarray | None, time: np.ndarray | None
) -> str:
    columns = (("published", published), ("time", time))
    possible = [*(mode for mode, column in columns if column is not None), "random"]
    if split is None:
        return possible[0]
    if split not in possible:
        raise ValueError(f"{name} cannot be split by {split!r}; it can by {', '.join(possible)}")
    return split


def _first_of_each_pair(
    users: np.ndarray, items: np.ndarray, num_items: int, age: np.ndarray | None
) -> np.ndarray:
    """Rows, ascending, that hold the oldest occurrence of each pair (ties: the first row)."""
    pair = users * num_items + items
    order = np.argsort(pair, kind="stable") if age is None else np.lexsort((age, pair))
    changes = np.r_[True, pair[order][1:] != pair[order][:-1]]
    return np.sort(order[changes])


def labelled_rows(
    name: str,
    columns: dict[str, np.ndarray],
    label: np.ndarray,
    label_names: tuple[str, ...],
    split: np.ndarray,
    *,
    dense: np.ndarray | None = None,
    dense_names: tuple[str, ...] = (),
    weight: np.ndarray | None = None,
    notes: str = "",
) -> LabelledRows:
    """Build a `LabelledRows` from raw categorical columns.

    Args:
        name: Name of the set.
        columns: Field name -> (n,) integers or strings without missing values.
        label: (n,) class numbers.
        label_names: Names of the classes.
        split: (n,) int8.
        dense: (n, d) numbers, or None.
        dense_names: Names of the d columns.
        weight: (n,) integers, observations a row stands for (they count in the frequencies).
        notes: Rows that were dropped, and the way the split was made.

    Returns:
        The rows in their order, ids by descending (weighted) training frequency.

    Raises:
        ValueError: If there is no row.
    """
    if not len(label):
        raise ValueError(f"{name}: there is no row")
    train = split == TRAIN
    fields, names, counts = {}, {}, {}
    for column, values in columns.items():
        codes, keys = encode(values)
        vocabulary = by_frequency(codes, len(keys), train, weight)
        fields[column], counts[column] = vocabulary.ids, vocabulary.counts
        names[column] = keys[vocabulary.order].astype(str).astype(object)
    return LabelledRows(
        name=name,
        fields=fields,
        cardinalities={column: len(keys) for column, keys in names.items()},
        names=names,
        dense=None if dense is None else dense.astype(np.float32),
        label=label.astype(np.int64),
        num_classes=len(label_names),
        split=split,
        weight=None if weight is None else weight.astype(np.float32),
        counts=counts,
        label_names=label_names,
        dense_names=dense_names,
        notes=notes,
    )
